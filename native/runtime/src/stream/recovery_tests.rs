//! The decisions of recovery, case by case.

use super::*;

#[test]
fn a_snapshot_is_judged_by_the_log() {
    assert_eq!(judge(5, 100, 200, 0, None), Verdict::Good);
    assert_eq!(judge(5, 100, 200, 101, None), Verdict::TooOld);
    assert_eq!(judge(5, 100, 200, 100, Some(150)), Verdict::Overtaken);
    assert_eq!(judge(5, 100, 200, 100, Some(200)), Verdict::Good, "complete before the other one came");
    assert_eq!(judge(150, 100, 200, 100, Some(150)), Verdict::Good, "its own marker");
}

#[test]
fn positions_are_by_partition_with_holes() {
    assert_eq!(by_partition(&BTreeMap::new()), Vec::<i64>::new());
    assert_eq!(by_partition(&BTreeMap::from([(0, 5), (2, 9)])), [5, -1, 9]);
}
