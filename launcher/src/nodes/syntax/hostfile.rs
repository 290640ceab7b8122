//! A file with a host in each line, told apart line by line:
//!
//! * `node1 slots=2 max_slots=4` (Open MPI), also with `user=`, `port=` and `ifname=`;
//! * `node1:2 user=me ifname=eth1` (Hydra);
//! * `node1`, once for each slot (PBS and many others);
//! * `node1 2 all.q@node1 UNDEFINED` (SGE; the queue and the processors are not used);
//! * `#` begins a comment.
//!
//! A host without a number has one slot.

use winnow::ascii::{space0, space1};
use winnow::combinator::{alt, cut_err, eof, opt, preceded, repeat};
use winnow::stream::Stream;
use winnow::token::{rest, take_while};
use winnow::{ModalResult, Parser};

use super::grammar::{colon_count, count, plain_name, port, refuse, target, want, whole};
use super::{Host, Mistake, merged};

/// Longest hostfile, in bytes.
pub(crate) const FILE_BYTES_MAX: usize = 64 * 1024 * 1024;

/// The hosts of a file. One that is named again gets the slots of both mentions.
pub(crate) fn parse(bytes: &[u8]) -> Result<Vec<Host>, Mistake> {
    let mut hosts = Vec::new();
    for (index, bytes) in bytes.split(|byte| *byte == b'\n').enumerate() {
        let number = index + 1;
        let bytes = bytes.strip_suffix(b"\r").unwrap_or(bytes);
        let text = std::str::from_utf8(bytes).map_err(|error| {
            let good = bytes.get(..error.valid_up_to()).unwrap_or_default();
            Mistake {
                line: number,
                column: String::from_utf8_lossy(good).chars().count() + 1,
                expected: "text".to_owned(),
                found: "bytes that are not UTF-8".to_owned(),
            }
        })?;
        hosts.extend(whole(line, text, number)?);
    }
    if hosts.is_empty() {
        return Err(Mistake {
            line: 1,
            column: 1,
            expected: "a host".to_owned(),
            found: "none in the whole file".to_owned(),
        });
    }
    Ok(merged(hosts))
}

fn line(input: &mut &str) -> ModalResult<Option<Host>> {
    space0.parse_next(input)?;
    if end(input).is_ok() {
        return Ok(None);
    }
    let mut host = target.parse_next(input)?;
    let slots = opt(alt((colon_count, grid_engine))).parse_next(input)?;
    host.slots = slots.unwrap_or(1);
    let start = input.checkpoint();
    let attributes: Vec<Attribute> = repeat(0.., preceded(space1, attribute)).parse_next(input)?;
    for attribute in attributes {
        match attribute {
            Attribute::Slots(slots) => host.slots = slots,
            Attribute::MaxSlots(slots) => host.max_slots = Some(slots),
            Attribute::User(user) => host.user = Some(user),
            Attribute::Interface(name) => host.interface = Some(name),
            Attribute::Port(port) => host.port = Some(port),
            Attribute::Other => {}
        }
    }
    end.context(want(
        "`:` and a number, `slots=`, `max_slots=`, `user=`, `port=`, `ifname=`, a comment or the end of the line",
    ))
    .parse_next(input)?;
    if host.max_slots.is_some_and(|most| most < host.slots) {
        input.reset(&start);
        return refuse("a `max_slots` that is not below the slots");
    }
    Ok(Some(host))
}

/// The end of the line, perhaps with a comment.
fn end(input: &mut &str) -> ModalResult<()> {
    let start = input.checkpoint();
    let ended = (space0, alt((eof, ('#', rest).take())))
        .void()
        .parse_next(input);
    if ended.is_err() {
        input.reset(&start);
        space0.parse_next(input)?;
    }
    ended
}

/// The rest of `node1 2 all.q@node1 UNDEFINED`.
fn grid_engine(input: &mut &str) -> ModalResult<u32> {
    let word = || {
        take_while(1.., |letter: char| {
            !letter.is_whitespace() && !matches!(letter, '=' | '#')
        })
    };
    let slots = preceded(space1, count).parse_next(input)?;
    opt((space1, word(), opt((space1, word(), space0, eof)))).parse_next(input)?;
    Ok(slots)
}

enum Attribute {
    Slots(u32),
    MaxSlots(u32),
    User(String),
    Interface(String),
    Port(u16),
    /// One that says nothing that we need.
    Other,
}

fn attribute(input: &mut &str) -> ModalResult<Attribute> {
    let start = input.checkpoint();
    let key = take_while(1.., |letter: char| {
        letter.is_ascii_alphabetic() || matches!(letter, '_' | '-')
    })
    .parse_next(input)?;
    let known = matches!(
        key,
        "slots" | "max_slots" | "max-slots" | "user" | "ifname" | "port" | "binding"
    );
    if !known {
        input.reset(&start);
        return refuse("`slots=`, `max_slots=`, `user=`, `port=` or `ifname=`");
    }
    let equals = (space0, '=', space0).context(want("`=`"));
    cut_err(equals).parse_next(input)?;
    let word = |what| cut_err(plain_name).context(want(what));
    match key {
        "slots" => cut_err(count).map(Attribute::Slots).parse_next(input),
        "max_slots" | "max-slots" => cut_err(count).map(Attribute::MaxSlots).parse_next(input),
        "user" => word("the name of a user")
            .map(Attribute::User)
            .parse_next(input),
        "ifname" => word("the name of an interface")
            .map(Attribute::Interface)
            .parse_next(input),
        "port" => cut_err(port).map(Attribute::Port).parse_next(input),
        _ => take_while(1.., |letter: char| !letter.is_whitespace())
            .map(|_| Attribute::Other)
            .parse_next(input),
    }
}
