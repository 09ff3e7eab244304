//! Who is quarantined after which ends, and what the files keep.

use super::*;

fn place(offset: i64) -> Place {
    Place { topic: "transactions".to_owned(), partition: 2, offset }
}

fn after(ends: &[Option<i64>]) -> Suspicion {
    ends.iter().fold(Suspicion::default(), |known, end| known.after_bad_end(end.map(place)))
}

#[test]
fn a_record_is_quarantined_after_two_ends_and_never_after_one() {
    assert_eq!(after(&[None]), Suspicion { careful: true, unnamed: true, ..Suspicion::default() });
    assert_eq!(after(&[None, Some(7)]).quarantined, [place(7)], "the end without a name was its");
    let once = after(&[Some(7)]);
    assert_eq!((once.quarantined.len(), once.accused), (0, Some(Accused { place: place(7), ends: 1 })));
    assert_eq!(after(&[Some(7), Some(7)]).quarantined, [place(7)]);
    assert_eq!(after(&[Some(7), Some(8)]).quarantined, [], "another record each time");
    assert_eq!(after(&[None, Some(7), Some(8)]).quarantined, [place(7)]);
    assert_eq!(after(&[None, Some(7), Some(8), Some(8)]).quarantined, [place(7), place(8)]);
    assert_eq!(after(&[None, None, Some(7)]).quarantined, [place(7)]);
}

#[test]
fn when_all_suspects_passed_only_the_quarantined_are_remembered() {
    let known = after(&[None, Some(7), Some(8)]).after_care();
    assert_eq!(known, Suspicion { quarantined: vec![place(7)], ..Suspicion::default() });
    assert_eq!(known.after_bad_end(None).after_bad_end(Some(place(8))).quarantined, [place(7), place(8)]);
}

#[test]
fn the_files_keep_what_is_known_and_the_note_names_one_record() {
    let folder = std::env::temp_dir().join(format!("fraudengine-quarantine-{}", std::process::id()));
    let files = Quarantine::new(&folder);
    assert_eq!(files.load().unwrap(), Suspicion::default(), "no folder");
    files.bad_end().unwrap();
    assert_eq!(files.load().unwrap(), after(&[None]));
    let mut note = files.note().unwrap();
    note.write(Some(("a-topic-with-a-long-name", 1_000, i64::MAX))).unwrap();
    note.write(Some(("transactions", 2, 7))).unwrap();
    assert_eq!(files.named().unwrap(), Some(place(7)));
    files.bad_end().unwrap();
    assert_eq!(files.load().unwrap(), after(&[None, Some(7)]));
    assert_eq!(files.named().unwrap(), None, "an end is counted once");
    fs::write(files.path(), "{").unwrap();
    assert!(files.load().is_err(), "a file that cannot be read stops the stream");
    fs::remove_dir_all(folder).unwrap();
}
