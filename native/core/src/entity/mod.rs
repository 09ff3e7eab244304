//! What is remembered of each entity: its windows, its known frauds, and for a customer its habits.

mod habits;
mod persist;
mod place;
mod plans;
mod profile;
mod recent_ids;

pub use habits::{HourHistogram, RecentCategories};
pub use place::{PlaceView, Places};
pub use profile::{
    CardState, Common, Context, CustomerState, DeviceState, Habits, IpState, MerchantState, Profile,
};
pub use recent_ids::{Earlier, RecentIds};
