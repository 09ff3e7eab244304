//! A file comes back as it was written, and every damage to it is noticed.

use super::*;
use fraudengine_core::EngineConfig;

fn header() -> Header {
    Header {
        position: 40,
        offsets: [41, 3, 2],
        generations: [1, 1, 1],
        end_position: 60,
        end_offset: 61,
        label_offset: 7,
        sources: vec![20, 20],
    }
}

fn folder(name: &str) -> PathBuf {
    let folder = std::env::temp_dir().join(format!("fraudengine-{name}-{}", std::process::id()));
    let _ = fs::remove_dir_all(&folder);
    folder
}

fn write(folder: &Path, header: &Header) -> PathBuf {
    let engine = Engine::new(EngineConfig::default());
    let mut head = Writer::default();
    engine.write_head(&mut head);
    let mut file = SnapshotWriter::begin(folder, &head.bytes).unwrap();
    for part in 0..PARTS {
        let mut bytes = Writer::default();
        engine.write_part(part, &mut bytes);
        file.part(header.position + part as u64 % 20, &bytes.bytes).unwrap();
    }
    file.publish(header).unwrap();
    list(folder).unwrap().remove(0)
}

#[test]
fn a_snapshot_comes_back_with_its_positions() {
    let folder = folder("whole");
    assert!(list(&folder).unwrap().is_empty(), "no folder is no snapshot");
    let path = write(&folder, &header());
    let loaded = load(&path, &EngineConfig::default()).unwrap();
    assert_eq!(loaded.header, header());
    assert_eq!(loaded.stands.end(), 59);
    fs::remove_dir_all(&folder).unwrap();
}

#[test]
fn other_bounds_are_taken_and_other_windows_refused() {
    let folder = folder("bounds");
    let path = write(&folder, &header());
    assert!(load(&path, &EngineConfig::default()).unwrap().same_bounds);
    let smaller = EngineConfig { memory_max: 1 << 28, entities_max: 1_024, ..EngineConfig::default() };
    let loaded = load(&path, &smaller).unwrap();
    assert!(!loaded.same_bounds);
    assert_eq!(*loaded.engine.config(), smaller);
    let other = EngineConfig { minor_digits: 0, ..EngineConfig::default() };
    assert!(matches!(load(&path, &other), Err(StreamError::Snapshot { .. })));
    fs::remove_dir_all(&folder).unwrap();
}

#[test]
fn the_newest_is_first_and_the_oldest_are_removed() {
    let folder = folder("prune");
    for position in [40, 50, 9] {
        write(&folder, &Header { position, end_position: position + 20, ..header() });
    }
    prune(&folder, 2).unwrap();
    let positions: Vec<u64> = list(&folder)
        .unwrap()
        .iter()
        .map(|path| load(path, &EngineConfig::default()).unwrap().header.position)
        .collect();
    assert_eq!(positions, [50, 40]);
    fs::remove_dir_all(&folder).unwrap();
}

#[test]
fn truncated_and_damaged_files_are_refused() {
    let folder = folder("damage");
    let path = write(&folder, &header());
    let good = fs::read(&path).unwrap();
    let mut state = 1_u64;
    for _ in 0..300 {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
        let at = (state >> 33) as usize % good.len();
        let mut bytes = good.clone();
        if state.is_multiple_of(2) {
            bytes.truncate(at);
        } else {
            bytes[at] ^= 1 << (state >> 60 & 7);
        }
        fs::write(&path, &bytes).unwrap();
        match load(&path, &EngineConfig::default()) {
            Err(StreamError::Snapshot { .. }) => {}
            Ok(loaded) => {
                // Only the padding of the header may differ.
                assert!(at < HEADER_BYTES, "damage at {at}");
                assert_eq!(loaded.header, header(), "damage at {at}");
            }
            Err(other) => panic!("{other}"),
        }
    }
    fs::remove_dir_all(&folder).unwrap();
}
