//! The newest acknowledged decisions in memory, for the writers of the same process.
//!
//! A writer reads the topic `decisions` like anybody else; but the newest records have just left this process, and asking the
//! broker for them costs broker and client more than writing them. So the output keeps what was acknowledged, with its
//! offset, and a [`LogReader`](crate::log_reader::LogReader) takes from here what is here, from the broker what is not:
//! the same bytes at the same offsets. At the bound the oldest go; a writer that is further behind reads the topic.
//!
//! # Thread Safety
//!
//! One mutex, taken once for a block of records by the output and by each reader.

use std::collections::VecDeque;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use crate::limits::TAIL_BYTES_MAX;

/// Blocks that have gone and wait to be filled again: some acknowledgements push out several, some none.
const SPARE_MAX: usize = 4;
/// A block may have this many times the room that its records take.
const ROOM_FACTOR_MAX: usize = 4;

/// Records with consecutive offsets.
#[derive(Debug, Default)]
pub struct Block {
    first: i64,
    time_ms: i64,
    bytes: Vec<u8>,
    ends: Vec<usize>,
}

impl Block {
    /// An empty block whose first record will have this offset; `time_ms` is when its records were acknowledged.
    fn begin(&mut self, first: i64, time_ms: i64) {
        (self.first, self.time_ms) = (first, time_ms);
        self.clear();
    }

    fn clear(&mut self) {
        self.bytes.clear();
        self.ends.clear();
    }

    /// Appends a record.
    fn push(&mut self, value: &[u8]) {
        self.bytes.extend_from_slice(value);
        self.ends.push(self.bytes.len());
    }

    fn is_empty(&self) -> bool {
        self.ends.is_empty()
    }

    /// Bytes of memory held.
    const fn room(&self) -> usize {
        self.bytes.capacity() + self.ends.capacity() * size_of::<usize>()
    }

    /// Gives back room of a busier time.
    fn fit(&mut self) {
        if self.bytes.capacity() > ROOM_FACTOR_MAX * self.bytes.len() {
            self.bytes.shrink_to_fit();
            self.ends.shrink_to_fit();
        }
    }

    /// Offset after its last record.
    pub const fn end(&self) -> i64 {
        self.first + self.ends.len() as i64
    }

    /// When its records were acknowledged, milliseconds since 1970.
    pub const fn time_ms(&self) -> i64 {
        self.time_ms
    }

    /// The record at an offset, which it must hold.
    pub fn record(&self, offset: i64) -> &[u8] {
        let at = (offset - self.first) as usize;
        let start = if at == 0 { 0 } else { self.ends[at - 1] };
        &self.bytes[start..self.ends[at]]
    }
}

#[derive(Debug)]
struct State {
    blocks: VecDeque<Arc<Block>>,
    spare: Vec<Block>,
    /// Room of `blocks`.
    bytes: usize,
    end: i64,
}

/// See the module's text.
#[derive(Debug)]
pub struct Tail {
    state: Mutex<State>,
    changed: Condvar,
}

/// What there is at an offset.
#[derive(Clone, Debug)]
pub enum Found {
    /// The block that holds it.
    Block(Arc<Block>),
    /// Nothing yet: it is the offset of the next record.
    End,
    /// It is not here: only the topic has it.
    Elsewhere,
}

impl Tail {
    /// Nothing yet; the next record has the offset `end`.
    pub fn new(end: i64) -> Self {
        let state = State { blocks: VecDeque::new(), spare: Vec::new(), bytes: 0, end };
        Self { state: Mutex::new(state), changed: Condvar::new() }
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Appends a block, at the bound in place of the oldest ones. After a gap nothing before it is kept. Returns a block
    /// to fill next.
    fn append(&self, mut block: Block) -> Block {
        block.fit();
        let mut state = self.lock();
        if block.first != state.end {
            state.blocks.clear();
            state.bytes = 0;
        }
        state.end = block.end();
        state.bytes += block.room();
        state.blocks.push_back(Arc::new(block));
        while state.bytes > TAIL_BYTES_MAX
            && let Some(oldest) = state.blocks.pop_front()
        {
            state.bytes -= oldest.room();
            if state.spare.len() < SPARE_MAX {
                state.spare.extend(Arc::into_inner(oldest));
            }
        }
        let spare = state.spare.pop().unwrap_or_default();
        drop(state);
        self.changed.notify_all();
        spare
    }

    /// Looks for an offset; waits up to `timeout` where it is that of the next record.
    pub fn find(&self, offset: i64, timeout: Duration) -> Found {
        let state = self.lock();
        let waited = self.changed.wait_timeout_while(state, timeout, |state| state.end == offset);
        let state = waited.unwrap_or_else(PoisonError::into_inner).0;
        if state.end == offset {
            return Found::End;
        }
        let after = state.blocks.partition_point(|block| block.end() <= offset);
        match state.blocks.get(after) {
            Some(block) if block.first <= offset => Found::Block(Arc::clone(block)),
            _ => Found::Elsewhere,
        }
    }

    /// Offset of the next record.
    pub fn end(&self) -> i64 {
        self.lock().end
    }
}

/// Fills the tail, block by block; without a tail it keeps nothing.
#[derive(Debug)]
pub struct TailWriter {
    tail: Option<Arc<Tail>>,
    block: Block,
}

impl TailWriter {
    /// Into this tail, if anybody reads it.
    pub fn new(tail: Option<Arc<Tail>>) -> Self {
        Self { tail, block: Block::default() }
    }

    /// The records that follow stand from this offset on and were acknowledged at this time, milliseconds since 1970.
    pub fn begin(&mut self, first: i64, time_ms: i64) {
        self.flush();
        self.block.begin(first, time_ms);
    }

    /// Takes in the next record.
    pub fn push(&mut self, value: &[u8]) {
        if self.tail.is_some() {
            self.block.push(value);
        }
    }

    /// Shows readers what has been taken in.
    pub fn flush(&mut self) {
        if let Some(tail) = self.tail.as_ref().filter(|_| !self.block.is_empty()) {
            let full = std::mem::take(&mut self.block);
            self.block = tail.append(full);
            self.block.clear();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn block(first: i64, values: &[&[u8]]) -> Block {
        let mut block = Block::default();
        block.begin(first, 7);
        for value in values {
            block.push(value);
        }
        block
    }

    fn found(tail: &Tail, offset: i64) -> Option<Vec<u8>> {
        match tail.find(offset, Duration::ZERO) {
            Found::Block(block) => Some(block.record(offset).to_vec()),
            Found::End | Found::Elsewhere => None,
        }
    }

    #[test]
    fn records_are_found_by_their_offsets() {
        let tail = Tail::new(5);
        assert!(matches!(tail.find(5, Duration::ZERO), Found::End));
        assert!(matches!(tail.find(4, Duration::ZERO), Found::Elsewhere));
        tail.append(block(5, &[b"five", b"", b"seven"]));
        tail.append(block(8, &[b"eight"]));
        for (offset, value) in [(5, &b"five"[..]), (6, b""), (7, b"seven"), (8, b"eight")] {
            assert_eq!(found(&tail, offset).as_deref(), Some(value));
        }
        assert!(matches!(tail.find(9, Duration::ZERO), Found::End));
        assert!(matches!(tail.find(10, Duration::ZERO), Found::Elsewhere), "beyond the end");
    }

    #[test]
    fn after_a_gap_only_the_topic_has_what_was_before() {
        let tail = Tail::new(0);
        tail.append(block(0, &[b"a"]));
        tail.append(block(3, &[b"d"]));
        assert!(matches!(tail.find(0, Duration::ZERO), Found::Elsewhere));
        assert!(matches!(tail.find(1, Duration::ZERO), Found::Elsewhere));
        assert_eq!(found(&tail, 3).as_deref(), Some(&b"d"[..]));
    }

    #[test]
    fn memory_is_bounded_and_used_again() {
        let tail = Tail::new(0);
        let large = vec![1; TAIL_BYTES_MAX / 4];
        let mut reused = 0;
        for offset in 0..8 {
            reused += usize::from(tail.append(block(offset, &[&large])).bytes.capacity() > 0);
        }
        assert!(matches!(tail.find(3, Duration::ZERO), Found::Elsewhere));
        assert!((5..8).all(|offset| found(&tail, offset).is_some()));
        assert_eq!(reused, 5);
    }

    #[test]
    fn whoever_waits_is_woken() {
        let tail = Arc::new(Tail::new(0));
        let other = Arc::clone(&tail);
        let waiting = std::thread::spawn(move || other.find(0, Duration::from_secs(60)));
        tail.append(block(0, &[b"a"]));
        assert!(matches!(waiting.join().unwrap(), Found::Block(_)));
    }
}
