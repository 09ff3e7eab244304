//! The load generator: a synthetic history sent to Kafka at a steady rate, or as fast as it goes.
//!
//! Two threads. One makes days and encodes them into blocks ([`feed`]), the other sends the blocks at their time
//! ([`sender`]); a bounded channel lies between them, and used blocks go back through another. The load is *open
//! loop*: record n is due at n / rate after the start whatever happened to the records before it, so a slow broker
//! makes the generator late (which is reported) but never gentle. The simulated clock of the history runs as
//! fast as the rate demands; a label is sent when that clock passes the moment at which it became known.
//!
//! [`malformed`] is the test tool that puts broken records among the good ones.

mod feed;
pub mod malformed;
mod pace;
mod progress;
pub mod record;
mod sender;
mod settings;

pub use progress::{Phase, Report};
pub use settings::{LoadError, LoadSettings};

use std::sync::Arc;
use std::thread::JoinHandle;
use std::time::Duration;

use progress::Progress;

/// A running generator. Dropping it stops it and waits for its threads.
///
/// # Thread Safety
///
/// Every method may be called from any thread while the load runs.
#[derive(Debug)]
pub struct Load {
    progress: Arc<Progress>,
    /// Taken when dropped.
    sender: Option<JoinHandle<()>>,
}

impl Load {
    /// Connects, draws the world and starts sending.
    ///
    /// Refused when a setting is out of range, a client property is not known, or the broker does not answer
    /// for the topics within ten seconds.
    pub fn start(settings: LoadSettings) -> Result<Self, LoadError> {
        settings.check()?;
        let progress = Arc::new(Progress::default());
        let producer = sender::connect(&settings, &progress)?;
        let shared = Arc::clone(&progress);
        let sender = std::thread::Builder::new()
            .name("load-send".to_owned())
            .spawn(move || sender::run(&settings, &producer, &shared))
            .map_err(|error| LoadError::Thread(error.to_string()))?;
        Ok(Self { progress, sender: Some(sender) })
    }

    /// Where it stands.
    pub fn report(&self) -> Report {
        self.progress.report()
    }

    /// Lets a load that holds after its warm-up go on, now or when it gets there.
    pub fn release(&self) {
        self.progress.release();
    }

    /// Asks it to stop: no more records, then the flush of those under way.
    pub fn stop(&self) {
        self.progress.stop();
    }

    /// Waits until everything was sent (or stopped) and flushed, or the time is over; whether it is so.
    pub fn wait(&self, timeout: Duration) -> bool {
        self.progress.wait(timeout)
    }
}

impl Drop for Load {
    fn drop(&mut self) {
        self.stop();
        if let Some(sender) = self.sender.take() {
            // A panic of the sender has been reported by the panic hook; there is nothing to add here.
            let _ = sender.join();
        }
    }
}
