//! Whether what came is what was to come.

use crate::cases::{Case, Expected};
use crate::common::Outcome;
use crate::sites;

/// What is wrong, if anything.
pub(crate) fn judge(case: &Case, outcome: &Outcome, hangs: bool) -> Option<String> {
    let wrong = match &case.expected {
        _ if hangs => Some("it hangs".to_owned()),
        Some(expected) => wrong(expected, outcome),
        None => correct(outcome),
    };
    wrong.map(|why| {
        let (code, stderr) = (outcome.code, &outcome.stderr);
        format!("{why}: code {code:?}\n{stderr}")
    })
}

fn correct(outcome: &Outcome) -> Option<String> {
    if outcome.code != Some(0) {
        return Some("a correct program did not end well".to_owned());
    }
    let silent = outcome.reports().is_empty();
    (!silent).then(|| "a correct program is accused".to_owned())
}

fn wrong(expected: &Expected, outcome: &Outcome) -> Option<String> {
    let (code, marks) = expected.class.marks();
    if outcome.code != Some(code) {
        return Some(format!("{:?} has code {code}", expected.class));
    }
    let reports = outcome.reports();
    let [report] = reports[..] else {
        return Some(format!("{} reports instead of 1", reports.len()));
    };
    if !marks.iter().any(|mark| report.contains(mark)) {
        return Some(format!("{:?} is told otherwise", expected.class));
    }
    if let Some(words) = expected.says.iter().find(|words| !report.contains(*words)) {
        return Some(format!("the report does not say {words:?}"));
    }
    let named = |(rank, step): &(usize, usize)| report.contains(&sites::place(*rank, *step));
    let missing = expected
        .places
        .iter()
        .find(|group| !group.iter().any(named));
    missing.map(|group| {
        let places: Vec<String> = group
            .iter()
            .map(|(rank, step)| sites::place(*rank, *step))
            .collect();
        format!("the report names none of the places {group:?}, {places:?}")
    })
}
