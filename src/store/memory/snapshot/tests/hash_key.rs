use super::{
    super::hash_key::{Origin, hash_key},
    platter::Crash,
    *,
};

const FIRST: [u8; 16] = *b"the first secret";
const OTHER: [u8; 16] = *b"another   secret";

#[test]
fn the_first_key_is_kept() {
    let disk = Platter::default();
    let (key, origin) = hash_key(&disk, FIRST).unwrap();
    assert_eq!((key, origin), (FIRST, Origin::New));
    let (key, origin) = hash_key(&disk, OTHER).unwrap();
    assert_eq!((key, origin), (FIRST, Origin::Kept));
}

#[test]
fn a_damaged_key_is_set_aside_and_another_takes_its_place() {
    let disk = Platter::default();
    hash_key(&disk, FIRST).unwrap();
    let good = disk.bytes("hash-key");
    let flipped = (0..good.len()).map(|at| {
        let mut bytes = good.clone();
        bytes[at] ^= 1;
        bytes
    });
    let cut = (0..good.len()).map(|length| good[..length].to_vec());
    for bytes in flipped.chain(cut).chain([[&good[..], b"x"].concat()]) {
        disk.put("hash-key", &bytes);
        let (key, origin) = hash_key(&disk, OTHER).unwrap();
        assert_eq!((key, origin), (OTHER, Origin::Damaged));
        assert_eq!(disk.bytes("hash-key.damaged"), bytes);
        assert_eq!(hash_key(&disk, FIRST).unwrap().0, OTHER);
    }
}

#[test]
fn a_crash_while_the_key_is_made_leaves_none_or_all_of_it() {
    for steps in 0..10 {
        for crash in [Crash::Process, Crash::Power, Crash::PowerAfterNames] {
            let disk = Platter::default();
            disk.burn(Some(steps));
            let made = hash_key(&disk, FIRST);
            let (_, origin) = hash_key(&disk.after(crash), OTHER).unwrap();
            assert_ne!(origin, Origin::Damaged, "{steps} steps, {crash:?}");
            assert!(made.is_err() || origin == Origin::Kept, "{steps} steps, {crash:?}");
        }
    }
}

#[cfg(unix)]
#[test]
fn nobody_else_may_read_the_key() {
    use std::os::unix::fs::PermissionsExt as _;

    let directory = tempfile::tempdir().unwrap();
    hash_key(&Directory::new(directory.path().to_owned()).unwrap(), FIRST).unwrap();
    let mode = std::fs::metadata(directory.path().join("hash-key")).unwrap().permissions().mode();
    assert_eq!(mode & 0o777, 0o600);
}
