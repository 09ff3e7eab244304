//! A plan as the kernel for AVX2 runs it: steps three at a time, leaf values byte by byte.
//!
//! With vectors of half a block, reading and writing memory is what costs. A split taken together with the splits on its
//! two sides keeps what those choose in registers: 13 reads and writes for each half instead of 18. And a shuffle looks
//! 32 rows up at once, in a table of 16 bytes; gathers of the same values take several times as long.

use std::ops::Range;

use super::blocks::ROWS;
use super::ranks::{LANES, Plan, Program, Step};

/// A split and those on its two sides.
#[derive(Clone, Copy, Debug, PartialEq)]
#[repr(C, align(32))]
pub(super) struct Triple {
    /// Columns of the split, of its left and of its right side, in bytes from the first column.
    pub(super) columns: [u32; 3],
    /// What the sides choose between, from left to right, in bytes from the first slot.
    pub(super) slots: [u32; 4],
    /// Right when the rank is above this. A side that is no split has the greatest rank, and the same slot twice.
    pub(super) cuts: [u8; 3],
}

/// One byte of each of 16 values.
#[derive(Clone, Copy, Debug, PartialEq)]
#[repr(C, align(16))]
pub(super) struct Plane(pub(super) [u8; LANES]);

/// Where a tree's triples and leaf values are.
#[derive(Clone, Debug)]
pub(super) struct Walk {
    /// Sides before what they are sides of. The `k`-th writes the `k`-th slot behind the values, as steps do.
    pub(super) triples: Range<usize>,
    /// Slot of the root.
    pub(super) root: usize,
    /// Values, 16 by 16: their first bytes, their second bytes and so on.
    pub(super) planes: Range<usize>,
}

/// All trees of a plan.
#[derive(Clone, Debug, Default)]
pub(super) struct Walks {
    pub(super) triples: Vec<Triple>,
    pub(super) planes: Vec<Plane>,
    pub(super) forest: Vec<Walk>,
    pub(super) booster: Vec<Walk>,
}

impl Walks {
    pub(super) fn new(plan: &Plan) -> Self {
        let mut walks = Self::default();
        for program in &plan.forest {
            let planes =
                walks.add_planes(plan.path_lengths[program.values.clone()].iter().map(|v| v.to_le_bytes()));
            let walk = walks.add_tree(plan, program, planes);
            walks.forest.push(walk);
        }
        for program in &plan.booster {
            let planes =
                walks.add_planes(plan.margins[program.values.clone()].iter().map(|v| v.to_le_bytes()));
            let walk = walks.add_tree(plan, program, planes);
            walks.booster.push(walk);
        }
        walks
    }

    /// Of values that are padded to whole vectors.
    fn add_planes<const BYTES: usize>(&mut self, values: impl Iterator<Item = [u8; BYTES]>) -> Range<usize> {
        let first = self.planes.len();
        for (number, value) in values.enumerate() {
            let lane = number % LANES;
            if lane == 0 {
                self.planes.extend([Plane([0; LANES]); BYTES]);
            }
            let group = self.planes.len() - BYTES;
            for (plane, byte) in self.planes[group..].iter_mut().zip(value) {
                plane.0[lane] = byte;
            }
        }
        first..self.planes.len()
    }

    fn add_tree(&mut self, plan: &Plan, program: &Program, planes: Range<usize>) -> Walk {
        let first = self.triples.len();
        let tree = Steps { steps: &plan.steps[program.steps.clone()], value_slots: plan.value_slots };
        let tops = tree.tops(program.root as u16);
        // Values stay where they are.
        let mut slots: Vec<usize> = (0..tree.value_slots + tree.steps.len()).collect();
        for (number, &top) in tops.iter().rev().enumerate() {
            slots[usize::from(top)] = tree.value_slots + number;
        }
        let bytes = |number: usize| (number * ROWS) as u32;
        for step in tops.iter().rev().filter_map(|&top| tree.step(top)) {
            let [left, right] = [step.left, step.right].map(|side| tree.step(side));
            // Any column does where the cut says left.
            let column = |side: Option<&Step>| side.map_or(0, |side| side.column);
            let cut = |side: Option<&Step>| side.map_or(u8::MAX, |side| side.cut);
            self.triples.push(Triple {
                columns: [step.column, column(left), column(right)].map(|column| bytes(column as usize)),
                slots: tree.below(step).map(|slot| bytes(slots[usize::from(slot)])),
                cuts: [step.cut, cut(left), cut(right)],
            });
        }
        Walk { triples: first..self.triples.len(), root: slots[program.root], planes }
    }
}

/// The steps of one tree by their slots.
struct Steps<'a> {
    steps: &'a [Step],
    value_slots: usize,
}

impl<'a> Steps<'a> {
    /// The step that writes a slot, if it is no value.
    fn step(&self, slot: u16) -> Option<&'a Step> {
        usize::from(slot).checked_sub(self.value_slots).map(|index| &self.steps[index])
    }

    /// What is chosen between after a step and those on its sides.
    fn below(&self, step: &Step) -> [u16; 4] {
        let [[a, b], [c, d]] = [step.left, step.right]
            .map(|side| self.step(side).map_or([side; 2], |step| [step.left, step.right]));
        [a, b, c, d]
    }

    /// The steps that begin a triple, from the root on: what is below a triple begins the next.
    fn tops(&self, root: u16) -> Vec<u16> {
        let mut tops = vec![root];
        tops.retain(|&slot| self.step(slot).is_some());
        let mut at = 0;
        while let Some(step) = tops.get(at).and_then(|&top| self.step(top)) {
            tops.extend(self.below(step).into_iter().filter(|&slot| self.step(slot).is_some()));
            at += 1;
        }
        tops
    }
}
