//! Fixed facts of the synthetic world: cities, merchant categories, hours of the day.

/// A city, with its share of the customers.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct City {
    /// ISO 3166 alpha-2 code.
    pub country: &'static str,
    /// Degrees north.
    pub latitude: f32,
    /// Degrees east.
    pub longitude: f32,
    /// Share of the customers who live there, in percent.
    pub weight: f32,
}

const fn city(country: &'static str, latitude: f32, longitude: f32, weight: f32) -> City {
    City { country, latitude, longitude, weight }
}

/// Cities; weights add up to 100. Those without weight are only visited.
pub const CITIES: [City; 20] = [
    city("FR", 48.86, 2.35, 16.0),
    city("FR", 45.76, 4.84, 7.0),
    city("DE", 52.52, 13.40, 12.0),
    city("DE", 48.14, 11.58, 9.0),
    city("ES", 40.42, -3.70, 10.0),
    city("ES", 41.39, 2.17, 8.0),
    city("IT", 45.46, 9.19, 9.0),
    city("IT", 41.90, 12.50, 8.0),
    city("NL", 52.37, 4.90, 6.0),
    city("BE", 50.85, 4.35, 5.0),
    city("PT", 38.72, -9.14, 4.0),
    city("AT", 48.21, 16.37, 4.0),
    city("IE", 53.35, -6.26, 2.0),
    city("GB", 51.51, -0.13, 0.0),
    city("US", 40.71, -74.01, 0.0),
    city("US", 34.05, -118.24, 0.0),
    city("TH", 13.76, 100.50, 0.0),
    city("BR", -23.55, -46.63, 0.0),
    city("TR", 41.01, 28.98, 0.0),
    city("AE", 25.20, 55.27, 0.0),
];

/// What merchants of one category sell, to whom and when.
#[derive(Clone, Copy, Debug)]
pub struct Category {
    /// ISO 18245 code.
    pub code: u16,
    /// Natural logarithm of the median amount in cents.
    pub log_median: f64,
    /// Standard deviation of the logarithm.
    pub log_spread: f64,
    /// Share of purchases, in percent.
    pub weight: f32,
    /// Share of purchases made online.
    pub online: f64,
    /// Row of [`HOURS`].
    pub hours: usize,
}

const fn category(
    code: u16,
    log_median: f64,
    log_spread: f64,
    weight: f32,
    online: f64,
    hours: usize,
) -> Category {
    Category { code, log_median, log_spread, weight, online, hours }
}

/// Categories; weights add up to 100.
pub const CATEGORIES: [Category; 16] = [
    category(5411, 7.8, 0.75, 24.0, 0.06, 0),
    category(5812, 7.7, 0.60, 12.0, 0.05, 1),
    category(5814, 6.9, 0.50, 10.0, 0.10, 1),
    category(5541, 8.3, 0.45, 7.0, 0.0, 0),
    category(5912, 7.5, 0.70, 5.0, 0.15, 0),
    category(5651, 8.5, 0.80, 5.0, 0.45, 0),
    category(5732, 9.3, 1.10, 4.0, 0.60, 0),
    category(5999, 8.1, 1.00, 7.0, 0.85, 2),
    category(4121, 7.2, 0.55, 5.0, 0.80, 2),
    category(4899, 7.2, 0.40, 5.0, 1.0, 2),
    category(7995, 7.9, 1.10, 1.5, 0.95, 3),
    category(4511, 9.8, 0.80, 1.5, 0.95, 2),
    category(7011, 9.2, 0.70, 2.0, 0.75, 2),
    category(6011, 8.8, 0.60, 5.0, 0.0, 0),
    category(4829, 9.0, 1.20, 4.0, 1.0, 2),
    category(5816, 6.8, 0.70, 2.0, 1.0, 3),
];

/// Position of cash withdrawals in [`CATEGORIES`].
pub const CASH: usize = 13;
/// Position of account transfers in [`CATEGORIES`].
pub const TRANSFER: usize = 14;
/// Position of electronics in [`CATEGORIES`].
pub const ELECTRONICS: usize = 6;
/// Position of mixed online goods in [`CATEGORIES`].
pub const GOODS: usize = 7;
/// Position of digital goods in [`CATEGORIES`].
pub const DIGITAL: usize = 15;

/// Relative activity by hour of the day: shops, restaurants, online, night owls.
pub const HOURS: [[f32; 24]; 4] = [
    [1., 0., 0., 0., 0., 1., 2., 4., 6., 8., 10., 10., 9., 8., 8., 8., 9., 11., 11., 8., 5., 3., 2., 1.],
    [2., 1., 1., 0., 0., 0., 2., 5., 5., 3., 3., 8., 14., 12., 5., 3., 3., 5., 9., 14., 13., 9., 5., 3.],
    [3., 2., 1., 1., 1., 1., 2., 4., 5., 6., 6., 6., 7., 7., 6., 6., 6., 7., 7., 8., 9., 9., 8., 5.],
    [8., 7., 6., 4., 3., 2., 2., 2., 2., 3., 3., 3., 4., 4., 4., 4., 4., 5., 6., 7., 8., 9., 10., 9.],
];

/// Running shares, ending at one.
pub fn cumulative(weights: impl Iterator<Item = f32>) -> Vec<f32> {
    let mut sum = 0.0;
    let mut edges: Vec<f32> = weights
        .map(|weight| {
            sum += weight;
            sum
        })
        .collect();
    for edge in &mut edges {
        *edge /= sum;
    }
    edges
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn weights_are_percentages() {
        let cities: f32 = CITIES.iter().map(|city| city.weight).sum();
        let categories: f32 = CATEGORIES.iter().map(|category| category.weight).sum();
        assert!((cities - 100.0).abs() < 1e-3 && (categories - 100.0).abs() < 1e-3);
        assert_eq!((CATEGORIES[CASH].code, CATEGORIES[TRANSFER].code), (6011, 4829));
        let edges = cumulative([1.0, 3.0].into_iter());
        assert_eq!(edges, [0.25, 1.0]);
    }
}
