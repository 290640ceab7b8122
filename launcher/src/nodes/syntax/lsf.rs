//! What LSF says of its allocation.

use winnow::ascii::{multispace0, multispace1};
use winnow::combinator::{cut_err, delimited, eof, preceded, separated, terminated};
use winnow::{ModalResult, Parser};

use super::grammar::{count, plain_name, want, whole};
use super::{Host, Mistake, merged};

/// `LSB_MCPU_HOSTS`: `node1 2 node2 1`.
pub(crate) fn counted(text: &str) -> Result<Vec<Host>, Mistake> {
    let hosts = separated(1.., pair, multispace1);
    let end = (multispace0, eof).context(want("another host or the end"));
    let all = terminated(preceded(multispace0, hosts), end);
    whole(all.map(|hosts: Vec<Host>| merged(hosts)), text, 1)
}

fn pair(input: &mut &str) -> ModalResult<Host> {
    let (name, slots) = (plain_name, preceded(multispace1, cut_err(count))).parse_next(input)?;
    Ok(Host::new(name, slots))
}

/// `LSB_HOSTS`: a name for each slot.
pub(crate) fn repeated(text: &str) -> Result<Vec<Host>, Mistake> {
    let host = plain_name.map(|name| Host::new(name, 1));
    let end = (multispace0, eof).context(want("another host or the end"));
    let all = delimited(multispace0, separated(1.., host, multispace1), end);
    whole(all.map(|hosts: Vec<Host>| merged(hosts)), text, 1)
}
