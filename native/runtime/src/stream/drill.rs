//! Fault injection for drills: a chosen transaction ends the thread, or the process, as a fault of ours would.
//!
//! Off unless `drill.transaction_id` is set; then it costs a comparison for each transaction.

use fraudengine_core::event::Transaction;
use fraudengine_core::units::EntityKey;

use crate::settings::{DrillFault, DrillSettings, DrillStage};

/// See the module's text.
#[derive(Clone, Debug)]
pub struct Drill {
    settings: DrillSettings,
    key: EntityKey,
}

impl Drill {
    /// By the settings; `None` where the drill is off or at another stage.
    pub fn at(settings: &DrillSettings, stage: DrillStage) -> Option<Self> {
        let wanted = !settings.transaction_id.is_empty() && settings.stage == stage;
        let key = EntityKey::of(settings.transaction_id.as_bytes());
        wanted.then(|| Self { settings: settings.clone(), key })
    }

    /// Before the record of a transaction id is checked.
    pub fn decoded(&self, id: Option<&str>) {
        if id == Some(&self.settings.transaction_id) {
            self.strike();
        }
    }

    /// Before transactions are decided.
    pub fn deciding(&self, transactions: &[Transaction]) {
        if transactions.iter().any(|transaction| transaction.id == self.key) {
            self.strike();
        }
    }

    fn strike(&self) {
        match self.settings.fault {
            DrillFault::Abort => std::process::abort(),
            DrillFault::Panic => panic!("drill.transaction_id is {}", self.settings.transaction_id),
        }
    }
}
