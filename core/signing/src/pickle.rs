//! Which files the metadata of torch.distributed.checkpoint names: a pickle, whose opcodes (Python's `pickletools`) are
//! walked, never executed.
//!
//! Its storage data is an object for each tensor or part of one, of class `_StorageInfo`, whose attribute `relative_path` is
//! what torch joins to the folder and opens. A pickler writes the name of an attribute, and then its value: the text that
//! directly follows the text `relative_path`. A file that holds several tensors is written out with the first, so values that
//! a memo repeats need no look. Tensors can be called `relative_path`, too; what follows then has not the ending of a file.

use std::collections::BTreeSet;
use std::io::{self, BufRead, Read};

use crate::index::Names;

const ATTRIBUTE: &[u8] = b"relative_path";
const ENDING: &str = ".distcp";
/// Opcodes of the older protocols that have no argument.
const BARE: &[u8] = b"(012NQRabd}el]ost)u";
/// No system has longer paths.
const MAX_TEXT: usize = 4096;
/// A pickler puts one text into the memo once, and one that was put there under as many numbers is of none.
const MAX_ATTRIBUTES: usize = 1 << 16;
/// Numbers, classes and texts of the oldest protocols are lines.
const MAX_LINE: u64 = 1 << 16;

/// Adds the files that the pickle `bytes` names to `names`.
///
/// # Errors
/// [`io::ErrorKind::UnexpectedEof`] and [`io::ErrorKind::InvalidData`] where it is no pickle; those of `bytes` and `names`.
pub(crate) fn read(bytes: impl BufRead, names: &mut Names) -> io::Result<()> {
    let mut walk = Walk {
        bytes,
        names,
        memo: 0,
        attributes: BTreeSet::new(),
        is_attribute: false,
    };
    while walk.step()? {}
    Ok(())
}

struct Walk<'a, R> {
    bytes: R,
    names: &'a mut Names,
    /// How many things were put into the memo.
    memo: u64,
    /// Which of them are the text [`ATTRIBUTE`].
    attributes: BTreeSet<u64>,
    /// Whether what was pushed last is.
    is_attribute: bool,
}

impl<R: BufRead> Walk<'_, R> {
    /// Takes one opcode; whether another one follows.
    fn step(&mut self) -> io::Result<bool> {
        let op = self.byte()?;
        self.is_attribute = match op {
            b'.' => return Ok(false),
            // SHORT_BINUNICODE, BINUNICODE, BINUNICODE8
            0x8c => self.number(1).and_then(|length| self.text(length))?,
            b'X' => self.number(4).and_then(|length| self.text(length))?,
            0x8d => self.number(8).and_then(|length| self.text(length))?,
            // BINGET, LONG_BINGET
            b'h' => self
                .number(1)
                .map(|place| self.attributes.contains(&place))?,
            b'j' => self
                .number(4)
                .map(|place| self.attributes.contains(&place))?,
            // MEMOIZE, BINPUT, LONG_BINPUT: of what was pushed last, which stays so.
            0x94 => self.put(self.memo)?,
            b'q' => self.number(1).and_then(|place| self.put(place))?,
            b'r' => self.number(4).and_then(|place| self.put(place))?,
            // PROTO, FRAME: they may stand anywhere.
            0x80 => self.number(1).and(Ok(self.is_attribute))?,
            0x95 => self.number(8).and(Ok(self.is_attribute))?,
            _ => self.other(op).and(Ok(false))?,
        };
        Ok(true)
    }

    /// An opcode that is neither of a text nor of the memo.
    fn other(&mut self, op: u8) -> io::Result<()> {
        match op {
            0x81 | 0x85..=0x89 | 0x8f..=0x93 | 0x97 | 0x98 => Ok(()),
            // BININT1, EXT1; BININT2, EXT2; BININT, EXT4; BINFLOAT
            b'K' | 0x82 => self.number(1).map(drop),
            b'M' | 0x83 => self.number(2).map(drop),
            b'J' | 0x84 => self.number(4).map(drop),
            b'G' => self.number(8).map(drop),
            // Bytes and long numbers, behind their length of one, four or eight bytes.
            b'U' | b'C' | 0x8a => self.number(1).and_then(|length| self.skip(length)),
            b'T' | b'B' | 0x8b => self.number(4).and_then(|length| self.skip(length)),
            0x8e | 0x96 => self.number(8).and_then(|length| self.skip(length)),
            // FLOAT, INT, LONG, PERSID, STRING, UNICODE, GET, PUT: lines, which no protocol of today writes.
            b'F' | b'I' | b'L' | b'P' | b'S' | b'V' | b'g' | b'p' => self.line(),
            // GLOBAL, INST
            b'c' | b'i' => self.line().and_then(|()| self.line()),
            _ if BARE.contains(&op) => Ok(()),
            _ => Err(io::ErrorKind::InvalidData.into()),
        }
    }

    fn put(&mut self, place: u64) -> io::Result<bool> {
        self.memo += 1;
        if self.is_attribute {
            self.attributes.insert(place);
        } else {
            self.attributes.remove(&place);
        }
        if self.attributes.len() > MAX_ATTRIBUTES {
            return Err(io::ErrorKind::InvalidData.into());
        }
        Ok(self.is_attribute)
    }

    /// Whether the text of `length` bytes is [`ATTRIBUTE`]; behind one, it is a file's name.
    fn text(&mut self, length: u64) -> io::Result<bool> {
        let Some(room) = usize::try_from(length)
            .ok()
            .filter(|room| *room <= MAX_TEXT)
        else {
            return self.skip(length).and(Ok(false));
        };
        let mut text = vec![0; room];
        self.bytes.read_exact(&mut text)?;
        // What is no UTF-8 is the name of no file that could be signed.
        if self.is_attribute
            && let Ok(name) = str::from_utf8(&text)
            && name.ends_with(ENDING)
        {
            self.names.add(name)?;
        }
        Ok(text == ATTRIBUTE)
    }

    fn byte(&mut self) -> io::Result<u8> {
        let mut byte = [0];
        self.bytes.read_exact(&mut byte)?;
        let [byte] = byte;
        Ok(byte)
    }

    /// A number of as many bytes, the least first.
    fn number(&mut self, bytes: usize) -> io::Result<u64> {
        let mut number = [0; 8];
        self.bytes
            .read_exact(number.get_mut(..bytes).unwrap_or_default())?;
        Ok(u64::from_le_bytes(number))
    }

    fn skip(&mut self, length: u64) -> io::Result<()> {
        let skipped = io::copy(&mut self.bytes.by_ref().take(length), &mut io::sink())?;
        if skipped < length {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        Ok(())
    }

    fn line(&mut self) -> io::Result<()> {
        let mut line = Vec::new();
        self.bytes
            .by_ref()
            .take(MAX_LINE)
            .read_until(b'\n', &mut line)?;
        if line.last() != Some(&b'\n') {
            return Err(io::ErrorKind::InvalidData.into());
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn names(pickle: &[u8]) -> Option<Vec<String>> {
        let mut names = Names::default();
        match read(pickle, &mut names) {
            Ok(()) => Some(names.into_iter().collect()),
            Err(error) => {
                use io::ErrorKind::{InvalidData, UnexpectedEof};
                assert!(matches!(error.kind(), InvalidData | UnexpectedEof));
                None
            }
        }
    }

    /// Of two ranks, with a tensor that is called `relative_path`, too.
    const METADATA: &[u8] = include_bytes!("../tests/indexes/torch-2.15.metadata");

    #[test]
    fn metadata_of_torch_names_its_files_and_is_read_to_its_end() {
        let expected = ["__0_0.distcp", "__1_0.distcp"].map(str::to_owned);
        assert_eq!(names(METADATA), Some(expected.to_vec()));
        for length in 0..METADATA.len() {
            assert_eq!(names(&METADATA[..length]), None, "{length}");
        }
    }

    #[test]
    fn the_value_of_the_attribute_is_a_name_and_nothing_else_is() {
        let pickle = |body: &[u8]| names(&[b"\x80\x04", body, b"."].concat());
        let attribute = b"\x8c\x0drelative_path".as_slice();
        let name = b"\x8c\x08a.distcp".as_slice();
        // Protocols 2 to 5, and a frame that begins between the two.
        for body in [
            b"\x80\x02}q\x00(X\x0d\0\0\0relative_pathq\x01X\x08\0\0\0a.distcpq\x02u".as_slice(),
            &[attribute, b"\x94\x95\x05\0\0\0\0\0\0\0", name, b"\x94"].concat(),
            &[attribute, b"\x8d\x08\0\0\0\0\0\0\0a.distcp"].concat(),
            &[b"\x8c\x00\x94", attribute, b"\x940h\x01", name].concat(),
            &[attribute, b"r\x00\x01\0\0}j\x00\x01\0\0", name].concat(),
        ] {
            let expected = vec!["a.distcp".to_owned()];
            assert_eq!(pickle(body), Some(expected), "{body:?}");
        }
        for body in [
            name,
            &[name, attribute].concat(),
            &[attribute, b"K\x01", name].concat(),
            &[attribute, b"(", name].concat(),
            &[attribute, b"\x94]\x94h\x01", name].concat(),
            &[attribute, b"q\x00]q\x00h\x00", name].concat(),
            &[attribute, b"\x8c\x08\xff.distcp"].concat(),
            &[attribute, b"\x8c\x05index"].concat(),
            &[attribute, b"B\x08\0\0\0a.distcp"].concat(),
            &[attribute, b"X\x01\x10\0\0", &[b'a'; 4090], b".distcp"].concat(),
        ] {
            assert_eq!(pickle(body), Some(Vec::new()), "{body:?}");
        }
    }

    #[test]
    fn a_text_is_not_put_into_the_memo_without_end() {
        let memoized = |times: usize| {
            let memo = b"\x94".repeat(times);
            names(
                &[
                    b"\x8c\x0drelative_path",
                    memo.as_slice(),
                    b"\x8c\x08a.distcp.",
                ]
                .concat(),
            )
        };
        assert_eq!(memoized(MAX_ATTRIBUTES), Some(vec!["a.distcp".to_owned()]));
        assert_eq!(memoized(MAX_ATTRIBUTES + 1), None);
    }

    #[test]
    fn arguments_are_as_long_as_they_are() {
        for body in [
            b"I1\nF1.5\nL12L\nS'a'\nVa\np0\ng0\ncos\nsystem\nia\nb\nPa\n".as_slice(),
            b"K.M..J....G........\x82.\x83..\x84....",
            b"U\x02..T\x02\0\0\0..C\x02..B\x02\0\0\0..\x8a\x02..\x8b\x02\0\0\0..",
            b"\x8e\x02\0\0\0\0\0\0\0..\x96\x02\0\0\0\0\0\0\0..",
            b"(012NQRabd}el]ost)u\x81\x85\x86\x87\x88\x89\x8f\x90\x91\x92\x93\x94\x97\x98",
        ] {
            // Were one read as longer or shorter, a dot would end it, or the name be missed.
            let end = b"\x8c\x0drelative_path\x8c\x08a.distcp.";
            let found = names(&[body, end].concat());
            assert_eq!(found, Some(vec!["a.distcp".to_owned()]), "{body:?}");
        }
        for bad in [
            b"\x99.".as_slice(),
            b"\xff.",
            b"A.",
            b"I1.",
            b"T\xff\xff\xff\xff.",
            b"not a pickle",
            b"",
        ] {
            assert_eq!(names(bad), None, "{bad:?}");
        }
        let line = [b"V".as_slice(), &vec![b'a'; 1 << 16], b"\n."].concat();
        assert_eq!(names(&line), None);
    }
}
