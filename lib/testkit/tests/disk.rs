//! What the disk notes, refuses and loses, with a shell and its tools as the processes on it.
#![allow(
    clippy::unwrap_used,
    reason = "clippy does not take helpers of tests for tests"
)]

use std::collections::BTreeSet;
use std::path::Path;
use std::process::{Command, Output};
use std::time::{Duration, Instant};

use testkit::disk::{Disk, Image};
use testkit::{Chance, temp_dir};

/// How many outcomes of one cut are looked at: enough that each that is possible is among them.
const SEEDS: u64 = 300;

fn run(disk: &Disk, script: &str) -> Output {
    Command::new("/bin/sh")
        .args(["-ec", script])
        .current_dir(disk.dir())
        .envs(disk.env())
        .output()
        .unwrap()
}

fn done(disk: &Disk, script: &str) {
    let output = run(disk, script);
    assert!(
        output.status.success(),
        "{}",
        String::from_utf8_lossy(&output.stderr)
    );
}

/// What a cut at the end could leave, by many seeds.
fn outcomes(disk: &Disk) -> Vec<Image> {
    let history = disk.history();
    let moment = history.moment(history.len());
    (0..SEEDS)
        .map(|seed| moment.after_cut(&mut Chance::new(seed)))
        .collect()
}

/// The different contents that a file has in them; None where it is missing.
fn contents(images: &[Image], path: &str) -> BTreeSet<Option<Vec<u8>>> {
    images
        .iter()
        .map(|image| image.file(path).map(<[u8]>::to_vec))
        .collect()
}

fn is(content: &str) -> Option<Vec<u8>> {
    Some(content.as_bytes().to_vec())
}

#[test]
fn the_journal_explains_all_that_ordinary_tools_do() {
    let dir = temp_dir();
    std::fs::write(dir.path().join("old"), "from before").unwrap();
    let mut disk = Disk::under(dir.path());
    done(
        &disk,
        "mkdir -p a/b; echo one > a/b/f; echo two >> a/b/f; mv a/b a/c; ln a/c/f hard; rm old
         dd if=/dev/zero of=holes bs=700 count=2 seek=3 2>/dev/null; truncate -s 1000 holes; cp a/c/f copy
         : > a/c/f; mkdir gone; rmdir gone; mv copy moved; echo x > moved",
    );
    let history = disk.history();
    assert_eq!(
        history.moment(history.len()).with_power(),
        Image::read(disk.dir())
    );
    assert!(history.moment(0).with_power().holds("old"), "and what was before");
    // Something that nobody noted would make every later conclusion void.
    disk.cut_power(1);
    std::fs::write(disk.dir().join("behind its back"), "x").unwrap();
    let cut = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| disk.cut_power(2)));
    assert!(cut.is_err());
}

#[test]
fn what_was_synced_with_its_name_is_always_there() {
    let dir = temp_dir();
    let disk = Disk::under(dir.path());
    done(
        &disk,
        "echo kept > file; sync file; sync .; echo more >> file; echo new > other; sync other",
    );
    let images = outcomes(&disk);
    assert!(
        images
            .iter()
            .all(|image| image.file("file").unwrap().starts_with(b"kept\n"))
    );
    let found = contents(&images, "file");
    assert!(
        found.contains(&is("kept\n")) && found.contains(&is("kept\nmore\n")),
        "{found:?}"
    );
    // Its bytes are there, but nothing says that its name is.
    assert_eq!(contents(&images, "other"), [None, is("new\n")].into());
    assert_eq!(disk.syncs(), 3);
}

#[test]
fn what_is_written_after_a_sync_began_is_not_covered_by_it() {
    let dir = temp_dir();
    let disk = Disk::under(dir.path());
    done(&disk, "echo 1 > file; sync . file; echo 2 > file");
    let found = contents(&outcomes(&disk), "file");
    assert!(
        found.contains(&is("1\n")) && found.contains(&is("2\n")),
        "{found:?}"
    );
    assert!(
        found.contains(&is("")),
        "the file was emptied before it was written: {found:?}"
    );
    assert!(!found.contains(&None));
}

#[test]
fn a_rename_is_whole_or_not_at_all_and_in_order() {
    let dir = temp_dir();
    std::fs::write(dir.path().join("file"), "old").unwrap();
    let disk = Disk::under(dir.path());
    done(
        &disk,
        "printf new > file.new; sync file.new; mv file.new file; touch later",
    );
    let images = outcomes(&disk);
    assert_eq!(contents(&images, "file"), [is("old"), is("new")].into());
    for image in &images {
        let renamed = image.file("file") == Some(b"new");
        assert!(!(renamed && image.holds("file.new")), "both names at once");
        assert!(
            renamed || !image.holds("later"),
            "a later name without an earlier one"
        );
    }
}

#[test]
fn pages_and_sectors_are_lost_each_by_itself_and_never_torn() {
    let dir = temp_dir();
    std::fs::write(dir.path().join("file"), vec![b'a'; 64 * 512]).unwrap();
    let disk = Disk::under(dir.path());
    for byte in ["b", "c"] {
        done(
            &disk,
            &format!(
                "head -c {} /dev/zero | tr '\\0' {byte} | dd of=file bs=32768 conv=notrunc iflag=fullblock",
                64 * 512
            ),
        );
    }
    let mut mixed = 0;
    for image in outcomes(&disk) {
        let file = image.file("file").unwrap();
        assert_eq!(file.len(), 64 * 512);
        let sectors: BTreeSet<&[u8]> = file.chunks(512).collect();
        assert!(
            sectors
                .iter()
                .all(|sector| sector.iter().all(|byte| *byte == sector[0])),
            "torn"
        );
        mixed += usize::from(sectors.len() == 3);
    }
    assert!(
        mixed > 20,
        "old, newer and newest beside each other, only {mixed} times"
    );
}

#[test]
fn a_full_disk_refuses_what_needs_room_and_takes_what_does_not() {
    let dir = temp_dir();
    std::fs::write(dir.path().join("file"), "0123456789").unwrap();
    let disk = Disk::under(dir.path());
    disk.limit(Some(5));
    let output = run(&disk, "printf abcdefgh > new");
    assert!(!output.status.success());
    assert_eq!(
        std::fs::read(disk.dir().join("new")).unwrap(),
        b"abcde",
        "as much as fits"
    );
    done(&disk, "printf XY | dd of=file conv=notrunc 2>/dev/null");
    assert!(!run(&disk, "mkdir dir").status.success() && !run(&disk, ": > another").status.success());
    assert!(disk.refusals() >= 2);
    done(&disk, "rm file; printf again > another");
    disk.limit(None);
    done(&disk, "dd if=/dev/zero of=large bs=1000 count=100 2>/dev/null");
    let history = disk.history();
    assert_eq!(
        history.moment(history.len()).with_power(),
        Image::read(disk.dir())
    );
}

#[test]
fn syncs_can_be_slow() {
    let dir = temp_dir();
    std::fs::write(dir.path().join("file"), "x").unwrap();
    let disk = Disk::under(dir.path());
    disk.slow_syncs(Duration::from_millis(150));
    let begun = Instant::now();
    done(&disk, "sync file; sync file");
    assert!(begun.elapsed() >= Duration::from_millis(300));
}

#[test]
fn a_disk_that_ignores_syncs_loses_what_it_confirmed() {
    let dir = temp_dir();
    let disk = Disk::under(dir.path());
    disk.ignore_syncs(true);
    done(&disk, "echo kept > file; sync file; sync .");
    assert!(contents(&outcomes(&disk), "file").contains(&None));
}

#[test]
fn a_seed_reproduces_a_cut_and_what_lies_elsewhere_is_left_alone() {
    let elsewhere = temp_dir();
    let cut = |seed| {
        let dir = temp_dir();
        let mut disk = Disk::under(dir.path());
        let outside = elsewhere.path().join("file");
        done(
            &disk,
            &format!(
                "for i in 1 2 3 4 5 6 7 8; do echo $i > f$i; done; echo out > {}",
                outside.display()
            ),
        );
        disk.cut_power(seed);
        assert_eq!(std::fs::read(Path::new(&outside)).unwrap(), b"out\n");
        Image::read(disk.dir())
    };
    assert_eq!(cut(3), cut(3));
    assert!((0..20).any(|seed| cut(seed) != cut(3)));
}
