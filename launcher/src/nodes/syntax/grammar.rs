//! What all these texts have in common: names, counts, and where a mistake is.

use std::net::Ipv6Addr;

use winnow::ascii::digit1;
use winnow::combinator::{alt, cut_err, delimited, opt, preceded, terminated};
use winnow::error::{ContextError, ErrMode, ParseError, StrContext, StrContextValue};
use winnow::stream::Stream;
use winnow::token::{one_of, take_while};
use winnow::{ModalParser, ModalResult, Parser};

use super::{COUNT_MAX, Host, Mistake};

/// Longest host name or user name, in bytes.
const NAME_BYTES_MAX: usize = 253;
/// Longest part of a text that is quoted in a message, in characters.
const SHOWN_CHARS_MAX: usize = 40;

/// What a parser wants to see next.
pub(super) const fn want(what: &'static str) -> StrContext {
    StrContext::Expected(StrContextValue::Description(what))
}

/// Fails for good at this place.
pub(super) fn refuse<T>(what: &'static str) -> ModalResult<T> {
    let mut error = ContextError::new();
    error.push(want(what));
    Err(ErrMode::Cut(error))
}

/// Applies a parser to a whole line.
pub(super) fn whole<'t, T>(
    mut parser: impl ModalParser<&'t str, T, ContextError>,
    text: &'t str,
    line: usize,
) -> Result<T, Mistake> {
    parser
        .parse(text)
        .map_err(|error| locate(&error, text, line))
}

fn locate(error: &ParseError<&str, ContextError>, text: &str, line: usize) -> Mistake {
    let offset = text.floor_char_boundary_of(error.offset());
    let (before, rest) = text.split_at(offset);
    let mut expected: Vec<String> = Vec::new();
    for context in error.inner().context() {
        if let StrContext::Expected(what) = context {
            let what = what.to_string();
            if !expected.contains(&what) {
                expected.push(what);
            }
        }
    }
    if expected.is_empty() {
        expected.push("nothing more".to_owned());
    }
    let word = rest.split([',', ' ', '\t']).next().unwrap_or(rest);
    let found = match (rest.chars().next(), word) {
        (None, _) => "the end".to_owned(),
        (Some(first), "") => format!("`{}`", first.escape_debug()),
        (Some(_), word) => format!("`{}`", shown(word)),
    };
    Mistake {
        line,
        column: before.chars().count() + 1,
        expected: expected.join(" or "),
        found,
    }
}

/// The nearest place at or before `offset` where the text can be split.
trait FloorBoundary {
    fn floor_char_boundary_of(&self, offset: usize) -> usize;
}

impl FloorBoundary for str {
    fn floor_char_boundary_of(&self, offset: usize) -> usize {
        let offset = offset.min(self.len());
        (0..=offset)
            .rev()
            .find(|at| self.is_char_boundary(*at))
            .unwrap_or(0)
    }
}

/// A text in one short line, with nothing that a terminal obeys.
pub(super) fn shown(text: &str) -> String {
    let mut short: String = text.chars().take(SHOWN_CHARS_MAX).collect();
    if short.len() < text.len() {
        short.push_str("...");
    }
    short.escape_debug().to_string()
}

const fn may_begin_a_name(letter: char) -> bool {
    letter.is_ascii_alphanumeric() || letter == '_'
}

/// What a name may consist of.
pub(super) const fn is_of_a_name(letter: char) -> bool {
    letter.is_ascii_alphanumeric() || matches!(letter, '_' | '-' | '.')
}

/// One or more of these, with commas between; what follows a comma must be one.
pub(super) fn between_commas<'t, T>(
    item: impl Fn(&mut &'t str) -> ModalResult<T>,
) -> impl Fn(&mut &'t str) -> ModalResult<Vec<T>> {
    move |input| {
        let mut items = vec![item(input)?];
        while opt(',').parse_next(input)?.is_some() {
            items.push(cut_err(&item).parse_next(input)?);
        }
        Ok(items)
    }
}

/// A host name, or an IPv6 address in brackets.
pub(super) fn name(input: &mut &str) -> ModalResult<String> {
    alt((bracketed, plain_name)).parse_next(input)
}

/// A host name or an IPv4 address.
pub(super) fn plain_name(input: &mut &str) -> ModalResult<String> {
    (one_of(may_begin_a_name), take_while(0.., is_of_a_name))
        .take()
        .verify(|name: &str| name.len() <= NAME_BYTES_MAX)
        .map(str::to_owned)
        .context(want(
            "a host name (letters, digits, `.`, `_` and `-`, of which a letter or digit comes first)",
        ))
        .parse_next(input)
}

fn bracketed(input: &mut &str) -> ModalResult<String> {
    let address = (
        take_while(1.., |letter: char| {
            letter.is_ascii_alphanumeric() || matches!(letter, ':' | '.')
        })
        .verify(|text: &str| text.parse::<Ipv6Addr>().is_ok()),
        opt((
            '%',
            take_while(1..=32, |letter: char| {
                letter.is_ascii_alphanumeric() || matches!(letter, '_' | '-' | '.')
            }),
        )),
    )
        .take()
        .map(str::to_owned)
        .context(want("an IPv6 address"));
    delimited('[', cut_err(address), cut_err(']').context(want("`]`"))).parse_next(input)
}

/// `[user@]host`, with one slot.
pub(super) fn target(input: &mut &str) -> ModalResult<Host> {
    let user = opt(terminated(plain_name, '@')).parse_next(input)?;
    let name = name.parse_next(input)?;
    Ok(Host {
        user,
        ..Host::new(name, 1)
    })
}

/// `:2`, the number of slots after the name of a host.
pub(super) fn colon_count(input: &mut &str) -> ModalResult<u32> {
    preceded(':', cut_err(count)).parse_next(input)
}

/// A number of slots or the like.
pub(super) fn count(input: &mut &str) -> ModalResult<u32> {
    number(input, 1..=COUNT_MAX).map_err(|error| {
        error.map(|mut error: ContextError| {
            error.push(want(
                "a number from 1 to 1048576 (and an IPv6 address in brackets)",
            ));
            error
        })
    })
}

/// A port.
pub(super) fn port(input: &mut &str) -> ModalResult<u16> {
    let number = number(input, 1..=u32::from(u16::MAX)).map_err(|error| {
        error.map(|mut error: ContextError| {
            error.push(want("a port from 1 to 65535"));
            error
        })
    })?;
    Ok(u16::try_from(number).unwrap_or(u16::MAX))
}

fn number(input: &mut &str, range: std::ops::RangeInclusive<u32>) -> ModalResult<u32> {
    let start = input.checkpoint();
    let number = digit1
        .verify_map(|digits: &str| digits.parse::<u32>().ok())
        .verify(|number| range.contains(number))
        .parse_next(input);
    if number.is_err() {
        input.reset(&start);
    }
    number
}
