//! Merchants: what they sell, where, and at what level of prices.

use crate::catalogue::{CATEGORIES, CITIES, cumulative};
use crate::draws::Draws;

const PURPOSE_MERCHANT: u64 = 3;

/// One merchant.
#[derive(Clone, Copy, Debug)]
pub struct Merchant {
    /// Number, from 1.
    pub number: u32,
    /// Position in the categories.
    pub category: u8,
    /// City; for an online merchant, of its seat.
    pub city: u8,
    /// Whether it sells online.
    pub online: bool,
    /// Degrees north.
    pub latitude: f32,
    /// Degrees east.
    pub longitude: f32,
    /// Natural logarithm of its prices against the category's.
    pub log_level: f64,
}

/// All merchants, and for each place and category who is there, most popular first.
#[derive(Clone, Debug)]
pub struct Market {
    pub(crate) merchants: Vec<Merchant>,
    /// By `city * categories + category`.
    local: Vec<Vec<u32>>,
    /// By category.
    online: Vec<Vec<u32>>,
}

impl Market {
    /// Draws a market. Every category has an online seller and one in every city.
    pub fn draw(seed: u64, count: u32) -> Self {
        let cities = cumulative(CITIES.iter().map(|city| city.weight.max(1.5)));
        let categories = cumulative(CATEGORIES.iter().map(|category| category.weight.max(3.0)));
        let mut market = Self {
            merchants: Vec::with_capacity(count as usize),
            local: vec![Vec::new(); CITIES.len() * CATEGORIES.len()],
            online: vec![Vec::new(); CATEGORIES.len()],
        };
        for number in 1..=count {
            let mut draws = Draws::new(seed, PURPOSE_MERCHANT, number.into(), 0);
            let category = draws.weighted(&categories);
            let city = draws.weighted(&cities);
            let online = draws.chance(0.15 + 0.5 * CATEGORIES[category].online);
            market.add(Merchant {
                number,
                category: category as u8,
                city: city as u8,
                online,
                latitude: CITIES[city].latitude + (0.10 * draws.normal()) as f32,
                longitude: CITIES[city].longitude + (0.15 * draws.normal()) as f32,
                log_level: 0.35 * draws.normal(),
            });
        }
        market
    }

    fn add(&mut self, merchant: Merchant) {
        let at = self.merchants.len() as u32;
        let category = usize::from(merchant.category);
        if merchant.online {
            self.online[category].push(at);
        } else {
            self.local[usize::from(merchant.city) * CATEGORIES.len() + category].push(at);
        }
        self.merchants.push(merchant);
    }

    /// A merchant of a category, online or in a city; where there is none, the nearest in kind.
    pub fn choose(&self, draws: &mut Draws, city: usize, category: usize, online: bool) -> &Merchant {
        let local = &self.local[city * CATEGORIES.len() + category];
        let sellers = if online || local.is_empty() { &self.online[category] } else { local };
        let at = if sellers.is_empty() {
            draws.below(self.merchants.len() as u64) as usize
        } else {
            sellers[draws.popular(sellers.len())] as usize
        };
        &self.merchants[at]
    }

    /// A merchant without regard to what it sells.
    pub fn any(&self, draws: &mut Draws) -> &Merchant {
        &self.merchants[draws.below(self.merchants.len() as u64) as usize]
    }
}
