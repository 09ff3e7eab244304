//! The scoring service in front of the stream: a transaction goes to the topic, the stream's own decision comes back.
//!
//! ```text
//! calls ──> Gateway ──> transactions ──> the stream ──> decisions ──> follower ──> answers
//!              └── Calls: who waits for what, until when <──────────────┘ └──> Replica: the state, to look at
//! ```
//!
//! There is one writer of the state, the stream. [`follower`] keeps a replica of it by the means of a restart (newest
//! snapshot, then the log; see [`stream::rebuild`](crate::stream::rebuild)). Where the stream does not answer in time,
//! a call is answered from a look at the replica, which changes nothing; such an answer is always marked.

mod answer;
mod calls;
mod follower;
mod gateway;
mod in_flight;
mod replica;
mod settings;
#[cfg(test)]
mod tests;
mod through;

pub use answer::NoAnswer;
pub use calls::{Counts, Target};
pub use gateway::{Gateway, Told};
pub use settings::ServeSettings;
pub use through::Through;
