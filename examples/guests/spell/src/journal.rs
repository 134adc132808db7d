//! How changes are written to a file: a record for each, appended. A record is its length, a check of
//! that, a check of its bytes, and its bytes, numbers in little endian.
//!
//! What a crash leaves of a record at the end was not acknowledged, and is dropped. Anything else that
//! does not check is damage, and refused.

use std::io::Read;

use crate::{
    error::SpellError,
    records::{
        BlockChainConfig, ClockConfig, ConnectionPoolConfig, LastError, LastErrorEntry, Log,
        MailboxMessage, TriggerConfig,
    },
    state::{Change, State},
};

/// What a journal begins with; the last digit is its version.
pub const MAGIC: &[u8; 8] = b"AQSPELL1";

const HEADER: usize = 12;

/// The record of a change.
///
/// # Errors
/// A change of more than 4 GiB.
pub fn record(change: &Change) -> Result<Vec<u8>, SpellError> {
    let mut body = Writer::default();
    body.change(change);
    let body = body.0;
    let length = u32::try_from(body.len()).map_err(|_| SpellError::TooLarge)?;
    let length = length.to_le_bytes();
    let mut record = Vec::with_capacity(HEADER + body.len());
    record.extend(length);
    record.extend(crc32(&length).to_le_bytes());
    record.extend(crc32(&body).to_le_bytes());
    record.extend(body);
    Ok(record)
}

/// The state that a journal of so many bytes describes, and how many of them are whole. No more than one
/// record is in memory.
///
/// # Errors
/// A journal that cannot be read, is damaged, or of another version.
pub fn replay(mut journal: impl Read, size: u64) -> Result<(State, u64), SpellError> {
    let mut state = State::default();
    let mut magic = [0; MAGIC.len()];
    if size < magic.len() as u64 || read_into(&mut journal, &mut magic)? != MAGIC {
        let what = "it does not begin as a journal of this version";
        return Err(SpellError::Corrupt { at: 0, what });
    }
    let mut at = MAGIC.len() as u64;
    let mut body = Vec::new();
    loop {
        let damaged = |what| SpellError::Corrupt { at, what };
        let left = size - at;
        let mut header = [0; HEADER];
        if left < header.len() as u64 {
            return Ok((state, at));
        }
        read_into(&mut journal, &mut header)?;
        let [length, length_check, check] = numbers(header);
        if crc32(&length.to_le_bytes()) != length_check {
            // A crash of the machine may leave a longer file whose end was never written.
            if header.iter().all(|byte| *byte == 0) && is_zero(&mut journal)? {
                return Ok((state, at));
            }
            return Err(damaged("the header of a record does not check"));
        }
        let whole = header.len() as u64 + u64::from(length);
        if left < whole {
            return Ok((state, at));
        }
        body.resize(length as usize, 0);
        read_into(&mut journal, &mut body)?;
        if crc32(&body) != check {
            return Err(damaged("a record does not check"));
        }
        let mut fields = Reader(&body);
        let change = fields.change().filter(|_| fields.0.is_empty());
        state.apply(change.ok_or_else(|| damaged("a record of an unknown form"))?);
        at += whole;
    }
}

fn read_into<'a>(
    journal: &mut impl Read,
    buffer: &'a mut [u8],
) -> Result<&'a mut [u8], SpellError> {
    journal.read_exact(buffer).map_err(SpellError::Journal)?;
    Ok(buffer)
}

/// The three numbers of a header.
fn numbers(header: [u8; HEADER]) -> [u32; 3] {
    let [a, b, c, d, e, f, g, h, i, j, k, l] = header;
    [[a, b, c, d], [e, f, g, h], [i, j, k, l]].map(u32::from_le_bytes)
}

/// Whether nothing but zeros follows.
fn is_zero(journal: &mut impl Read) -> Result<bool, SpellError> {
    let mut buffer = [0; 4096];
    loop {
        let read = journal.read(&mut buffer).map_err(SpellError::Journal)?;
        match buffer.get(..read) {
            None | Some([]) => return Ok(true),
            Some(bytes) if bytes.iter().any(|byte| *byte != 0) => return Ok(false),
            Some(_) => {}
        }
    }
}

/// Tags of changes. They are on disks: numbers are never used again for something else.
mod tag {
    pub(super) const TRIGGER: u8 = 0;
    pub(super) const SET_TEXT: u8 = 1;
    pub(super) const SET_NUMBER: u8 = 2;
    pub(super) const REMOVE: u8 = 3;
    pub(super) const PUSH: u8 = 4;
    pub(super) const POP: u8 = 5;
    pub(super) const REMOVE_EQUAL: u8 = 6;
    pub(super) const PUT_MESSAGE: u8 = 7;
    pub(super) const TAKE_MESSAGE: u8 = 8;
    pub(super) const PUT_LOG: u8 = 9;
    pub(super) const PUT_ERROR: u8 = 10;
}

#[derive(Default)]
struct Writer(Vec<u8>);

impl Writer {
    fn u32(&mut self, value: u32) -> &mut Self {
        self.0.extend(value.to_le_bytes());
        self
    }

    fn u64(&mut self, value: u64) -> &mut Self {
        self.0.extend(value.to_le_bytes());
        self
    }

    /// A text with its length, of eight bytes: no text is too long for that.
    fn text(&mut self, value: &str) -> &mut Self {
        self.u64(value.len() as u64).0.extend(value.as_bytes());
        self
    }

    fn tag(&mut self, tag: u8) -> &mut Self {
        self.0.push(tag);
        self
    }

    fn change(&mut self, change: &Change) {
        match change {
            Change::Trigger(config) => self
                .tag(tag::TRIGGER)
                .u32(config.clock.start_sec)
                .u32(config.clock.end_sec)
                .u32(config.clock.period_sec)
                .u32(config.connections.connect.into())
                .u32(config.connections.disconnect.into())
                .u32(config.blockchain.start_block)
                .u32(config.blockchain.end_block),
            Change::SetText { key, value } => self.tag(tag::SET_TEXT).text(key).text(value),
            Change::SetNumber { key, value } => self.tag(tag::SET_NUMBER).text(key).u32(*value),
            Change::Remove { key } => self.tag(tag::REMOVE).text(key),
            Change::Push { key, value } => self.tag(tag::PUSH).text(key).text(value),
            Change::Pop { key } => self.tag(tag::POP).text(key),
            Change::RemoveEqual { key, value } => self.tag(tag::REMOVE_EQUAL).text(key).text(value),
            Change::PutMessage(message) => self
                .tag(tag::PUT_MESSAGE)
                .text(&message.init_peer_id)
                .u64(message.timestamp)
                .text(&message.message),
            Change::TakeMessage => self.tag(tag::TAKE_MESSAGE),
            Change::PutLog(log) => self.tag(tag::PUT_LOG).u64(log.timestamp).text(&log.message),
            Change::PutError {
                particle_id,
                timestamp,
                entry,
            } => self
                .tag(tag::PUT_ERROR)
                .text(particle_id)
                .u64(*timestamp)
                .u32(entry.error_idx)
                .u32(entry.last_error.error_code)
                .text(&entry.last_error.instruction)
                .text(&entry.last_error.message)
                .text(&entry.last_error.peer_id),
        };
    }
}

/// Reads what [`Writer`] writes; nothing where it is something else.
struct Reader<'a>(&'a [u8]);

impl Reader<'_> {
    fn array<const N: usize>(&mut self) -> Option<[u8; N]> {
        let (bytes, rest) = self.0.split_first_chunk::<N>()?;
        self.0 = rest;
        Some(*bytes)
    }

    fn u32(&mut self) -> Option<u32> {
        self.array().map(u32::from_le_bytes)
    }

    fn u64(&mut self) -> Option<u64> {
        self.array().map(u64::from_le_bytes)
    }

    fn bool(&mut self) -> Option<bool> {
        match self.u32()? {
            0 => Some(false),
            1 => Some(true),
            _ => None,
        }
    }

    fn text(&mut self) -> Option<String> {
        let length = usize::try_from(self.u64()?).ok()?;
        let (bytes, rest) = self.0.split_at_checked(length)?;
        self.0 = rest;
        String::from_utf8(bytes.to_vec()).ok()
    }

    fn change(&mut self) -> Option<Change> {
        let [tag] = self.array()?;
        Some(match tag {
            tag::TRIGGER => Change::Trigger(TriggerConfig {
                clock: ClockConfig {
                    start_sec: self.u32()?,
                    end_sec: self.u32()?,
                    period_sec: self.u32()?,
                },
                connections: ConnectionPoolConfig {
                    connect: self.bool()?,
                    disconnect: self.bool()?,
                },
                blockchain: BlockChainConfig {
                    start_block: self.u32()?,
                    end_block: self.u32()?,
                },
            }),
            tag::SET_TEXT => Change::SetText {
                key: self.text()?,
                value: self.text()?,
            },
            tag::SET_NUMBER => Change::SetNumber {
                key: self.text()?,
                value: self.u32()?,
            },
            tag::REMOVE => Change::Remove { key: self.text()? },
            tag::PUSH => Change::Push {
                key: self.text()?,
                value: self.text()?,
            },
            tag::POP => Change::Pop { key: self.text()? },
            tag::REMOVE_EQUAL => Change::RemoveEqual {
                key: self.text()?,
                value: self.text()?,
            },
            tag::PUT_MESSAGE => Change::PutMessage(MailboxMessage {
                init_peer_id: self.text()?,
                timestamp: self.u64()?,
                message: self.text()?,
            }),
            tag::TAKE_MESSAGE => Change::TakeMessage,
            tag::PUT_LOG => Change::PutLog(Log {
                timestamp: self.u64()?,
                message: self.text()?,
            }),
            tag::PUT_ERROR => Change::PutError {
                particle_id: self.text()?,
                timestamp: self.u64()?,
                entry: LastErrorEntry {
                    error_idx: self.u32()?,
                    last_error: LastError {
                        error_code: self.u32()?,
                        instruction: self.text()?,
                        message: self.text()?,
                        peer_id: self.text()?,
                    },
                },
            },
            _ => return None,
        })
    }
}

/// The CRC-32 of IEEE 802.3.
fn crc32(bytes: &[u8]) -> u32 {
    const TABLE: [u32; 256] = {
        let mut table = [0; 256];
        let mut index = 0;
        while index < 256 {
            let mut value = index as u32;
            let mut bit = 0;
            while bit < 8 {
                value = (value >> 1) ^ (0xedb8_8320 * (value & 1));
                bit += 1;
            }
            table[index] = value;
            index += 1;
        }
        table
    };
    !bytes.iter().fold(!0, |crc, byte| {
        (crc >> 8) ^ TABLE[usize::from(crc as u8 ^ byte)]
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn replay(bytes: &[u8]) -> Result<(State, usize), SpellError> {
        let (state, whole) = super::replay(bytes, bytes.len() as u64)?;
        Ok((state, whole as usize))
    }

    #[test]
    fn the_check_is_the_known_one() {
        assert_eq!(crc32(b"123456789"), 0xcbf4_3926);
    }

    /// A change of each kind.
    fn changes() -> Vec<Change> {
        let text = |text: &str| text.to_owned();
        vec![
            Change::Trigger(TriggerConfig {
                clock: ClockConfig {
                    start_sec: 1,
                    end_sec: 2,
                    period_sec: u32::MAX,
                },
                connections: ConnectionPoolConfig {
                    connect: true,
                    disconnect: false,
                },
                blockchain: BlockChainConfig {
                    start_block: 3,
                    end_block: 4,
                },
            }),
            Change::SetText {
                key: text("k"),
                value: text("vé\0"),
            },
            Change::SetNumber {
                key: text(""),
                value: 7,
            },
            Change::Push {
                key: text("l"),
                value: text("1"),
            },
            Change::Push {
                key: text("l"),
                value: text("2"),
            },
            Change::RemoveEqual {
                key: text("l"),
                value: text("1"),
            },
            Change::Push {
                key: text("l"),
                value: text("3"),
            },
            Change::Pop { key: text("l") },
            Change::Remove { key: text("none") },
            Change::PutMessage(MailboxMessage {
                init_peer_id: text("A"),
                timestamp: u64::MAX,
                message: text("m"),
            }),
            Change::PutMessage(MailboxMessage::default()),
            Change::TakeMessage,
            Change::PutLog(Log {
                timestamp: 5,
                message: text("line"),
            }),
            Change::PutError {
                particle_id: text("p"),
                timestamp: 6,
                entry: LastErrorEntry {
                    error_idx: 1,
                    last_error: LastError {
                        error_code: 10_000,
                        instruction: text("call"),
                        message: text("no"),
                        peer_id: text("q"),
                    },
                },
            },
        ]
    }

    fn journal(changes: &[Change]) -> Vec<u8> {
        let mut bytes = MAGIC.to_vec();
        for change in changes {
            bytes.extend(record(change).unwrap());
        }
        bytes
    }

    fn state(changes: &[Change]) -> State {
        let mut state = State::default();
        changes
            .iter()
            .cloned()
            .for_each(|change| state.apply(change));
        state
    }

    #[test]
    fn what_is_written_is_read() {
        let bytes = journal(&changes());
        let (read, whole) = replay(&bytes).unwrap();
        assert_eq!((&read, whole), (&state(&changes()), bytes.len()));
        // The state alone says the same.
        let again = journal(&read.changes().collect::<Vec<_>>());
        assert!(again.len() < bytes.len());
        assert_eq!(replay(&again).unwrap().0, read);
    }

    #[test]
    fn an_end_that_is_not_whole_is_dropped() {
        let all = changes();
        let bytes = journal(&all);
        let mut ends = vec![MAGIC.len()];
        for change in &all {
            ends.push(ends.last().unwrap() + record(change).unwrap().len());
        }
        for cut in MAGIC.len()..=bytes.len() {
            let whole = ends.iter().rposition(|end| *end <= cut).unwrap();
            let (read, length) = replay(&bytes[..cut]).unwrap();
            assert_eq!(
                (length, &read),
                (ends[whole], &state(&all[..whole])),
                "{cut}"
            );
        }
        let mut longer = bytes.clone();
        longer.extend([0; 100]);
        assert_eq!(replay(&longer).unwrap(), (state(&all), bytes.len()));
    }

    #[test]
    fn damage_is_refused() {
        let bytes = journal(&changes());
        for place in 0..bytes.len() {
            let mut damaged = bytes.clone();
            damaged[place] ^= 0x10;
            let error = replay(&damaged).unwrap_err().to_string();
            assert!(error.contains("are corrupt at byte"), "{place}: {error}");
        }
        let unknown = |body: &[u8]| {
            let length = (body.len() as u32).to_le_bytes();
            let parts = [
                MAGIC.as_slice(),
                &length,
                &crc32(&length).to_le_bytes(),
                &crc32(body).to_le_bytes(),
                body,
            ];
            replay(&parts.concat()).unwrap_err().to_string()
        };
        // An unknown tag, bytes that are left, a text longer than its record, nothing at all.
        for body in [
            &[99][..],
            &[tag::TAKE_MESSAGE, 0],
            &[tag::POP, 1, 0, 0, 0, 0, 0, 0, 0],
            &[],
        ] {
            assert_eq!(
                unknown(body),
                "the data of the spell are corrupt at byte 8: a record of an unknown form"
            );
        }
    }
}
