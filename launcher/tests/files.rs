//! Output into files, and how much the launcher says.

mod common;

use std::path::{Path, PathBuf};

use common::run;

/// A directory that goes with the test.
struct Place(PathBuf);

impl Place {
    fn new(name: &str) -> Self {
        let name = format!("phalanx-files-{name}-{}", std::process::id());
        let path = std::env::temp_dir().join(name);
        std::fs::create_dir_all(&path).expect("a directory");
        Self(path)
    }

    fn path(&self) -> &Path {
        &self.0
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        // A directory for temporary things keeps it at worst.
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

fn read(directory: &Path, name: &str) -> String {
    let path = directory.join(name);
    std::fs::read_to_string(&path).unwrap_or_else(|error| format!("{}: {error}", path.display()))
}

#[test]
fn each_rank_gets_a_file_for_each_stream() {
    let place = Place::new("each");
    let directory = place.path().join("new/inside");
    let script = "echo out $PHALANX_RANK; echo err $PHALANX_RANK >&2; printf end";
    let words = directory.to_str().expect("UTF-8");
    let outcome = run(&["run", "-n", "11", "--output-dir", words, "sh", "-c", script]);
    assert_eq!(outcome.code, Some(0), "{}", outcome.stderr);
    assert_eq!((outcome.text().as_str(), outcome.stderr.as_str()), ("", ""));
    for rank in 0..11 {
        let output = read(&directory, &format!("rank-{rank:02}.out"));
        assert_eq!(output, format!("out {rank}\nend"));
        let errors = read(&directory, &format!("rank-{rank:02}.err"));
        assert_eq!(errors, format!("err {rank}\n"));
    }
    let outcome = run(&["run", "-n", "11", "--output-dir", words, "true"]);
    assert_eq!(outcome.code, Some(0));
    assert_eq!(read(&directory, "rank-03.out"), "", "they are made anew");
}

#[test]
fn much_output_of_many_ranks_arrives_complete() {
    let place = Place::new("much");
    let words = place.path().to_str().expect("UTF-8");
    let script = "head -c 300000 /dev/zero | tr '\\0' x";
    let outcome = run(&[
        "run",
        "-n",
        "150",
        "--output-dir",
        words,
        "sh",
        "-c",
        script,
    ]);
    assert_eq!(outcome.code, Some(0), "{}", outcome.stderr);
    for rank in 0..150 {
        let file = place.path().join(format!("rank-{rank:03}.out"));
        assert_eq!(std::fs::metadata(file).expect("made").len(), 300_000);
    }
}

#[test]
fn a_directory_that_cannot_be_made_is_told_before_anything_runs() {
    let place = Place::new("no-directory");
    let file = place.path().join("file");
    std::fs::write(&file, "").expect("a file");
    let words = file.to_str().expect("UTF-8");
    let outcome = run(&["run", "-n", "1", "--output-dir", words, "echo", "x"]);
    assert_eq!((outcome.code, outcome.text().as_str()), (Some(71), ""));
    let [report] = outcome.reports()[..] else {
        panic!("one line: {}", outcome.stderr);
    };
    assert!(report.contains("--output-dir"), "{report}");
    assert!(report.contains("that you can write to"), "{report}");
}

#[test]
fn a_full_disk_ends_the_job_and_is_named() {
    let place = Place::new("full");
    std::os::unix::fs::symlink("/dev/full", place.path().join("rank-1.out")).expect("a link");
    let words = place.path().to_str().expect("UTF-8");
    for script in ["echo x; exec sleep 1000", "echo x"] {
        let outcome = run(&["run", "-n", "2", "--output-dir", words, "sh", "-c", script]);
        assert_eq!(outcome.code, Some(141), "{}", outcome.stderr);
        assert!(
            outcome.stderr.contains("rank-1.out: No space left"),
            "{}",
            outcome.stderr
        );
    }
}

#[test]
fn verbose_says_more_and_quiet_less() {
    let outcome = run(&["run", "-v", "-H", "localhost:1", "-n", "2", "true"]);
    let reports = outcome.reports();
    assert!(reports[0].contains("hosts from --host: "), "{reports:?}");
    assert!(reports[0].ends_with("(1 slot, here)"), "{reports:?}");
    assert!(reports[1].contains("more ranks than slots"), "{reports:?}");
    assert!(reports[2].contains("daemon on "), "{reports:?}");
    let outcome = run(&["run", "-q", "-H", "localhost:1", "-n", "2", "true"]);
    assert_eq!(outcome.stderr, "");
    let outcome = run(&["run", "-q", "-n", "1", "false"]);
    assert_eq!(outcome.reports().len(), 1, "{}", outcome.stderr);
}
