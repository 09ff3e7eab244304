//! Seeded synthetic card and account transactions with labelled fraud.
//!
//! A [`World`] is drawn once from the seed: customers, merchants, cities, fraud campaigns. After that every
//! day is a pure function of the world ([`World::day`]), so days can be made in any order by any number of
//! threads and come out the same. [`Arrivals`] puts days into the order in which a bank would receive
//! their records, with repeated, late and out-of-order ones.
//!
//! Identifiers are integers here; text is made at the edge ([`text`]).

mod arrivals;
mod campaigns;
mod catalogue;
mod config;
mod customer;
mod draws;
mod genuine;
mod merchant;
mod row;
pub mod text;
mod world;

pub use arrivals::Arrivals;
pub use catalogue::{CITIES, City};
pub use config::{Config, ConfigError};
pub use fraudengine_core::event::Channel;
pub use row::{Row, Typology};
pub use world::World;
