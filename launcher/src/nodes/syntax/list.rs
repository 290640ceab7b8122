//! Hosts on the command line: `a:2,b,user@c,[fd00::1]:4`.

use winnow::combinator::{eof, opt, terminated};
use winnow::{ModalResult, Parser};

use super::grammar::{between_commas, colon_count, target, want, whole};
use super::{Host, Mistake, merged};

/// The hosts of a list. One that is named again gets the slots of both mentions.
pub(crate) fn parse(text: &str) -> Result<Vec<Host>, Mistake> {
    let end = eof.context(want(
        "`:` and a number of slots, `,` and another host, or the end",
    ));
    let hosts = terminated(between_commas(item), end);
    whole(hosts.map(merged), text, 1)
}

fn item(input: &mut &str) -> ModalResult<Host> {
    let host = target.parse_next(input)?;
    let slots = opt(colon_count).parse_next(input)?.unwrap_or(1);
    Ok(Host { slots, ..host })
}
