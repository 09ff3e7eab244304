//! Risk profiles of customers, coalesced: one write for a customer and flush, within a budget.
//!
//! What is kept until the flush is bounded by the budget: customers with a flagged transaction first, then whoever
//! comes first. Customers beyond it are not written this time and are counted.

use std::collections::HashMap;

use fraudengine_core::event::RawTransaction;

use super::redis_batch::{action_name, score_text};
use crate::payload::record::DecisionView;

/// Newest scores of a customer that the profile keeps.
pub(super) const SCORES_KEPT: usize = 20;

/// What one flush adds to a profile.
#[derive(Debug, Default)]
pub(super) struct Profile {
    pub transactions: u64,
    pub flagged: u64,
    pub blocked: u64,
    /// Newest last; at most `SCORES_KEPT`.
    pub scores: Vec<f32>,
    pub event_time_micros: i64,
    pub amount_minor: i64,
    pub currency: String,
    pub country: String,
    pub merchant_id: String,
    pub action: i32,
    pub score: f32,
    pub reasons: String,
}

/// The profiles of one flush.
#[derive(Debug, Default)]
pub(super) struct Profiles {
    flagged: HashMap<String, Profile>,
    others: HashMap<String, Profile>,
    skipped: u64,
}

impl Profiles {
    /// Takes a decision in; `budget` is how many customers this flush may write.
    pub fn take(&mut self, view: &DecisionView<'_>, raw: &RawTransaction<'_>, budget: usize) {
        let Some(customer) = raw.customer_id else { return };
        let flagged = view.action != 1;
        if let Some(profile) = self.flagged.get_mut(customer) {
            return profile.take(view, raw);
        }
        if flagged {
            if self.flagged.len() < budget {
                let mut profile = self.others.remove(customer).unwrap_or_default();
                profile.take(view, raw);
                self.flagged.insert(customer.to_owned(), profile);
            } else {
                self.skipped += 1;
            }
            return;
        }
        if let Some(profile) = self.others.get_mut(customer) {
            profile.take(view, raw);
        } else if self.others.len() < budget {
            let mut profile = Profile::default();
            profile.take(view, raw);
            self.others.insert(customer.to_owned(), profile);
        } else {
            self.skipped += 1;
        }
    }

    /// The customers to write, flagged ones first, and how many decisions were left out.
    pub fn chosen(&self, budget: usize) -> (impl Iterator<Item = (&str, &Profile)>, u64) {
        let room = budget.saturating_sub(self.flagged.len());
        let left_out: u64 = self.others.values().skip(room).map(|profile| profile.transactions).sum();
        let both = self.flagged.iter().chain(self.others.iter().take(room));
        (both.map(|(customer, profile)| (customer.as_str(), profile)), self.skipped + left_out)
    }

    /// Forgets them, keeps the memory.
    pub fn clear(&mut self) {
        self.flagged.clear();
        self.others.clear();
        self.skipped = 0;
    }
}

impl Profile {
    fn take(&mut self, view: &DecisionView<'_>, raw: &RawTransaction<'_>) {
        self.transactions += 1;
        self.flagged += u64::from(view.action != 1);
        self.blocked += u64::from(view.action == 3);
        if self.scores.len() == SCORES_KEPT {
            self.scores.remove(0);
        }
        self.scores.push(view.score);
        self.event_time_micros = raw.event_time_micros.unwrap_or_default();
        self.amount_minor = raw.amount_minor.unwrap_or_default();
        self.action = view.action;
        self.score = view.score;
        set(&mut self.currency, raw.currency.unwrap_or_default());
        set(&mut self.country, raw.country.unwrap_or_default());
        set(&mut self.merchant_id, raw.merchant_id.unwrap_or_default());
        if view.action != 1 {
            self.reasons.clear();
            for (at, reason) in view.reasons().iter().enumerate() {
                if at > 0 {
                    self.reasons.push(',');
                }
                self.reasons.push_str(reason.feature);
            }
        }
    }

    /// The fields that the flush sets, as name and value.
    pub fn fields(&self) -> Vec<(&'static str, String)> {
        let mut fields = vec![
            ("last_seen_micros", self.event_time_micros.to_string()),
            ("last_amount_minor", self.amount_minor.to_string()),
            ("last_currency", self.currency.clone()),
            ("last_country", self.country.clone()),
            ("last_merchant_id", self.merchant_id.clone()),
            ("last_action", action_name(self.action).to_owned()),
            ("last_score", score_text(self.score)),
        ];
        if self.flagged > 0 {
            fields.push(("last_reasons", self.reasons.clone()));
        }
        fields
    }
}

fn set(text: &mut String, value: &str) {
    text.clear();
    text.push_str(value);
}

#[cfg(test)]
mod tests {
    use super::*;

    fn decision(action: i32) -> DecisionView<'static> {
        let mut view = DecisionView::default();
        (view.action, view.score) = (action, 0.5);
        view
    }

    fn of(customer: &str) -> RawTransaction<'_> {
        RawTransaction { customer_id: Some(customer), ..RawTransaction::default() }
    }

    #[test]
    fn flagged_customers_push_others_out_of_the_budget() {
        let mut profiles = Profiles::default();
        for customer in ["a", "b", "c"] {
            profiles.take(&decision(1), &of(customer), 2);
        }
        profiles.take(&decision(3), &of("c"), 2);
        profiles.take(&decision(3), &of("d"), 2);
        profiles.take(&decision(3), &of("e"), 2);
        let (chosen, skipped) = profiles.chosen(2);
        let mut customers: Vec<_> = chosen.map(|(customer, _)| customer.to_owned()).collect();
        customers.sort();
        assert_eq!(customers, ["c", "d"]);
        // The approved one of c came when the budget was used up, as did e; a and b made room.
        assert_eq!(skipped, 4);
    }

    #[test]
    fn a_customer_is_written_once_whatever_happens_in_a_flush() {
        let mut profiles = Profiles::default();
        for _ in 0..30 {
            profiles.take(&decision(1), &of("a"), 10);
        }
        profiles.take(&decision(2), &of("a"), 10);
        let (chosen, skipped) = profiles.chosen(10);
        let profiles: Vec<_> = chosen.collect();
        assert_eq!((profiles.len(), skipped), (1, 0));
        let profile = profiles[0].1;
        assert_eq!((profile.transactions, profile.flagged, profile.scores.len()), (31, 1, SCORES_KEPT));
    }
}
