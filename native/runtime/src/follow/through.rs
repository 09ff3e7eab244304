//! The stream as who decides for the native transport: each call waits for the answer to its ticket.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use bytes::Bytes;
use tokio::sync::oneshot;

use super::calls::Target;
use super::gateway::{Gateway, Told};
use crate::grpc::{BATCH_ROWS_MAX, Failure, Scored, Scoring};
use crate::scoring::encode_response;
use crate::scoring_request::{transaction_of, transactions_of};

/// A gateway and those calls of the native transport that wait at it. Others may wait at it too.
pub struct Through {
    gateway: Gateway,
    waiting: Mutex<HashMap<u64, oneshot::Sender<Vec<u8>>>>,
}

impl Through {
    /// Nobody waits.
    pub fn new(gateway: Gateway) -> Self {
        Self { gateway, waiting: Mutex::default() }
    }

    /// What hands transactions to the stream.
    pub fn gateway(&self) -> &Gateway {
        &self.gateway
    }

    /// Waits for answers like [`Gateway::take`]; those of the native transport go there, the others are returned.
    pub fn take(&self, wait: Duration) -> Vec<(u64, Vec<u8>)> {
        let mut answers = self.gateway.take(wait);
        if !answers.is_empty() {
            let mut waiting = self.waiting();
            answers.retain_mut(|(ticket, answer)| match waiting.remove(ticket) {
                None => true,
                // Whoever cancelled the call waits no more.
                Some(call) => {
                    let _ = call.send(std::mem::take(answer));
                    false
                }
            });
        }
        answers
    }

    /// A ticket whose answer can be waited for before anybody can give it.
    fn wait(&self) -> (u64, oneshot::Receiver<Vec<u8>>) {
        let (sender, receiver) = oneshot::channel();
        let ticket = self.gateway.ticket();
        self.waiting().insert(ticket, sender);
        (ticket, receiver)
    }

    fn waiting(&self) -> MutexGuard<'_, HashMap<u64, oneshot::Sender<Vec<u8>>>> {
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Scoring for Through {
    async fn score(self: &Arc<Self>, request: Bytes, left: Option<Duration>) -> Scored {
        let message = transaction_of(&request)?;
        let (ticket, receiver) = self.wait();
        let told = self.gateway.ask([(message, Target::Call(ticket), left)]).pop();
        let now = match told {
            None | Some(Told::Later) => return receiver.await.map_err(|_| Failure::Ending),
            Some(Told::Answered(decision)) => Ok(encode_response(&decision)),
            Some(Told::Refused(refusal)) => Err(refusal.into()),
        };
        self.waiting().remove(&ticket);
        now
    }

    async fn score_batch(self: &Arc<Self>, request: Bytes, left: Option<Duration>) -> Scored {
        let (ticket, receiver) = self.wait();
        let here = Arc::clone(self);
        // Thousands of transactions are read and sent: others are answered meanwhile.
        let asked = tokio::task::spawn_blocking(move || {
            let messages = transactions_of(&request, BATCH_ROWS_MAX)?;
            here.gateway.ask_batch(ticket, &messages, left);
            Ok(())
        });
        if let Err(failure) = asked.await.unwrap_or(Err(Failure::Ending)) {
            self.waiting().remove(&ticket);
            return Err(failure);
        }
        receiver.await.map_err(|_| Failure::Ending)
    }
}
