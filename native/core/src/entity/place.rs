//! Where a customer pays: distance and speed from the last place, distance from the usual one.

use crate::event::Place;

/// Mean radius of the Earth in kilometres.
const EARTH_RADIUS_KM: f64 = 6_371.0;
/// The usual place follows about this many located events.
const HOME_EVENTS: f32 = 30.0;

/// A place in radians, with what each distance from it needs.
struct Point {
    latitude: f64,
    longitude: f64,
    /// Of the latitude.
    cosine: f64,
}

impl From<Place> for Point {
    fn from(place: Place) -> Self {
        let radians = |degrees: f32| f64::from(degrees).to_radians();
        let latitude = radians(place.latitude);
        Self { latitude, longitude: radians(place.longitude), cosine: libm::cos(latitude) }
    }
}

impl Point {
    /// Great-circle distance in kilometres (haversine formula).
    fn distance_km(&self, to: &Self) -> f64 {
        let half_lat = libm::sin((to.latitude - self.latitude) / 2.0);
        let half_lon = libm::sin((to.longitude - self.longitude) / 2.0);
        let h = half_lat * half_lat + self.cosine * to.cosine * half_lon * half_lon;
        2.0 * EARTH_RADIUS_KM * libm::asin(libm::sqrt(h.clamp(0.0, 1.0)))
    }
}

/// What is known of a customer's places.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Places {
    pub(crate) last: Place,
    /// Time of the last located event; `i64::MIN` before the first.
    pub(crate) last_time: i64,
    /// Exponentially weighted mean of the coordinates.
    pub(crate) home: Place,
    /// Located events taken into the mean, up to [`HOME_EVENTS`].
    pub(crate) events: f32,
}

impl Default for Places {
    fn default() -> Self {
        let nowhere = Place { latitude: 0.0, longitude: 0.0 };
        Self { last: nowhere, last_time: i64::MIN, home: nowhere, events: 0.0 }
    }
}

/// Facts of one located event; NaN where there is nothing to compare with.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct PlaceView {
    /// Kilometres from the previous located event.
    pub distance_last_km: f64,
    /// Speed needed from there, in km/h.
    pub speed_kmh: f64,
    /// Kilometres from the usual place.
    pub distance_home_km: f64,
}

impl PlaceView {
    /// Nothing known.
    pub const NONE: Self =
        Self { distance_last_km: f64::NAN, speed_kmh: f64::NAN, distance_home_km: f64::NAN };
}

impl Places {
    /// Takes in one event, after saying how it relates to the earlier ones.
    pub fn observe(&mut self, place: Option<Place>, time: i64) -> PlaceView {
        let Some(place) = place else { return PlaceView::NONE };
        let mut view = PlaceView::NONE;
        if self.last_time != i64::MIN {
            let here = Point::from(place);
            view.distance_last_km = Point::from(self.last).distance_km(&here);
            // A minute at least: clocks of two terminals differ, and nobody moves faster than light.
            let hours = (time - self.last_time).abs().max(60_000_000) as f64 / 3.6e9;
            view.speed_kmh = view.distance_last_km / hours;
            view.distance_home_km = Point::from(self.home).distance_km(&here);
        }
        self.learn(place, time);
        view
    }

    fn learn(&mut self, place: Place, time: i64) {
        self.events = (self.events + 1.0).min(HOME_EVENTS);
        let step = 1.0 / self.events;
        self.home.latitude += (place.latitude - self.home.latitude) * step;
        // The short way round the globe, so that a home at the date line stays there.
        let mut east = place.longitude - self.home.longitude;
        if east > 180.0 {
            east -= 360.0;
        } else if east < -180.0 {
            east += 360.0;
        }
        let longitude = self.home.longitude + east * step;
        self.home.longitude = if longitude > 180.0 {
            longitude - 360.0
        } else if longitude < -180.0 {
            longitude + 360.0
        } else {
            longitude
        };
        if time >= self.last_time {
            self.last = place;
            self.last_time = time;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const PARIS: Place = Place { latitude: 48.8566, longitude: 2.3522 };
    const LONDON: Place = Place { latitude: 51.5074, longitude: -0.1278 };

    fn distance_km(from: Place, to: Place) -> f64 {
        Point::from(from).distance_km(&Point::from(to))
    }

    #[test]
    fn distances_match_the_atlas() {
        assert!((distance_km(PARIS, LONDON) - 343.6).abs() < 1.0);
        assert!(distance_km(PARIS, PARIS).abs() < 1e-9);
        let antipode = Place { latitude: -48.8566, longitude: -177.6478 };
        assert!((distance_km(PARIS, antipode) - 20_015.0).abs() < 1.0);
    }

    #[test]
    fn speed_is_from_the_last_place_and_home_follows_slowly() {
        let mut places = Places::default();
        assert!(places.observe(Some(PARIS), 0).speed_kmh.is_nan());
        for hour in 1..20 {
            places.observe(Some(PARIS), hour * 3_600_000_000);
        }
        let view = places.observe(Some(LONDON), 20 * 3_600_000_000);
        assert!((view.speed_kmh - 343.6).abs() < 1.0);
        assert!(distance_km(places.home, PARIS) < 30.0);
        assert!(places.observe(None, 0).distance_last_km.is_nan());
    }

    #[test]
    fn a_home_at_the_date_line_does_not_move_to_africa() {
        let mut places = Places::default();
        places.observe(Some(Place { latitude: 0.0, longitude: 179.0 }), 0);
        for hour in 1..40 {
            let longitude = if hour % 2 == 0 { 179.0 } else { -179.0 };
            places.observe(Some(Place { latitude: 0.0, longitude }), hour);
        }
        assert!(places.home.longitude.abs() > 178.0);
    }
}
