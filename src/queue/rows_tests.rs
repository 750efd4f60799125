//! Rows with many holes: pieces, their files, and what is left when one of them is not there.

use std::path::{Path, PathBuf};

use super::*;
use crate::journal::OsDisk;
use crate::queue::holes::{Holes, PIECE};

const TARGET: TargetNo = TargetNo(4);

fn piece_files(dir: &Path) -> Vec<PathBuf> {
    OsDisk.list(dir).expect("listed").into_iter().filter(|p| pieces::is_piece(p)).collect()
}

/// One round of the keeper.
fn keep(file: &mut RowFile, dir: &Path, row: &Row) {
    file.keep_pieces(&OsDisk, dir, TARGET, row).expect("kept");
    file.write(TARGET, row).expect("written");
    file.sync().expect("synced");
    file.drop_pieces(&OsDisk, dir, TARGET);
}

fn row(holes: &mut Holes, position: u64) -> Row {
    Row { durable_end: position, position, holes: holes.set(), ..Row::default() }
}

#[test]
fn a_row_with_many_holes_comes_back_and_its_pieces_are_written_once() {
    let dir = tempfile::tempdir().expect("a directory");
    let dir = dir.path();
    let mut holes = Holes::default();
    let mut file = RowFile::create(&OsDisk, dir, TARGET, &row(&mut holes, 1)).expect("created");
    let many = 40 * PIECE as u64;
    for offset in 1..=many {
        holes.push(Hole { offset, key: offset * 3, bytes: 9 });
        if offset % 100 == 0 {
            keep(&mut file, dir, &row(&mut holes, offset + 1));
        }
    }
    let full = row(&mut holes, many + 1);
    keep(&mut file, dir, &full);
    let written = piece_files(dir);
    assert_eq!(written.len(), 38, "all but what may be listed");
    let slot = std::fs::metadata(dir.join("00000004.a")).expect("there").len();
    assert!(slot < 4 * (PIECE * HOLE) as u64, "a row of {slot} bytes repeats its pieces");
    assert_eq!(read(&OsDisk, dir, TARGET).expect("read"), Some(full));

    // A settlement in the middle touches no piece; when they are gone, so are their files.
    holes.settle(many / 2);
    keep(&mut file, dir, &row(&mut holes, many + 1));
    assert_eq!(piece_files(dir), written);
    for offset in (1..=many).filter(|o| *o != many / 2 && o % 1_000 != 0) {
        assert!(holes.settle(offset).is_some());
        if offset % 100 == 0 {
            keep(&mut file, dir, &row(&mut holes, many + 1));
        }
    }
    let few = row(&mut holes, many + 1);
    keep(&mut file, dir, &few);
    keep(&mut file, dir, &few);
    assert_eq!(few.holes.len(), many as usize / 1_000);
    assert_eq!(piece_files(dir).len(), few.holes.pieces.len());
    assert_eq!(read(&OsDisk, dir, TARGET).expect("read"), Some(few));
}

#[test]
fn a_row_whose_piece_is_not_what_it_was_is_none_and_the_one_before_it_counts() {
    let dir = tempfile::tempdir().expect("a directory");
    let dir = dir.path();
    let mut holes = Holes::default();
    let mut file = RowFile::create(&OsDisk, dir, TARGET, &row(&mut holes, 1)).expect("created");
    (1..=2 * PIECE as u64).for_each(|offset| holes.push(Hole { offset, key: 0, bytes: 9 }));
    let before = row(&mut holes, 1_000);
    keep(&mut file, dir, &before);
    holes.push(Hole { offset: 900, key: 1, bytes: 9 });
    let after = row(&mut holes, 2_000);
    keep(&mut file, dir, &after);
    let piece = piece_files(dir).pop().expect("one was frozen");
    let whole = std::fs::read(&piece).expect("readable");
    let mut damaged = whole.clone();
    damaged[40] ^= 1;
    for bytes in [Some(damaged), Some(whole[..whole.len() - 16].to_vec()), None] {
        match bytes {
            Some(bytes) => std::fs::write(&piece, bytes).expect("writable"),
            None => std::fs::remove_file(&piece).expect("there"),
        }
        assert_eq!(read(&OsDisk, dir, TARGET).expect("read"), Some(before.clone()));
    }
    // The one that counts is not written over by the next life, whichever slot is the newer one.
    let again = RowFile::create(&OsDisk, dir, TARGET, &before).expect("reopened");
    assert!(again.generation > 3);
    std::fs::write(&piece, whole).expect("writable");
    assert_eq!(read(&OsDisk, dir, TARGET).expect("read"), Some(before));
}
