//! The lines of a self-test as tables, for the terminal and for the documentation.

use comfy_table::presets::UTF8_FULL_CONDENSED;
use comfy_table::{ContentArrangement, Table};

use super::Line;
use crate::verdict::Validity;

const HEAD: [&str; 7] =
    ["bug", "workload", "nemesis", "verdict", "found by", "found after", "in all"];

fn cells(line: &Line) -> [String; 7] {
    let said = match (line.said, line.is_passed()) {
        (None, _) => "no verdict".to_owned(),
        (Some(validity), true) => word(validity).to_owned(),
        (Some(validity), false) => format!("{} (not {})", word(validity), word(line.expected)),
    };
    let bug = if line.bug.is_empty() { format!("({})", line.what) } else { line.bug.clone() };
    let found = match (line.said, line.checker.as_str()) {
        (Some(Validity::Valid), _) => String::new(),
        (_, "") => line.reason.clone(),
        (_, checker) => format!("{checker}: {}", line.reason),
    };
    let after = line.found_after.map(|seconds| format!("{seconds:.1} s")).unwrap_or_default();
    let took = match line.tries {
        1 => format!("{:.0} s", line.took),
        tries => format!("{:.0} s, {tries} tries", line.took),
    };
    [bug, line.workload.clone(), line.nemesis.clone(), said, found, after, took]
}

fn word(validity: Validity) -> &'static str {
    match validity {
        Validity::Valid => "valid",
        Validity::Unknown => "unknown",
        Validity::Invalid => "invalid",
    }
}

/// For the terminal.
pub fn text(lines: &[Line]) -> String {
    let mut table = Table::new();
    table.load_preset(UTF8_FULL_CONDENSED);
    table.set_content_arrangement(ContentArrangement::Dynamic);
    table.set_header(HEAD);
    for line in lines {
        table.add_row(cells(line));
    }
    table.to_string()
}

/// For the documentation.
pub fn markdown(lines: &[Line]) -> String {
    let row = |cells: &[String]| {
        let cells: Vec<String> = cells.iter().map(|cell| cell.replace('|', "\\|")).collect();
        format!("| {} |\n", cells.join(" | "))
    };
    let mut text = row(&HEAD.map(str::to_owned));
    text.push_str(&format!("|{}\n", "---|".repeat(HEAD.len())));
    for line in lines {
        text.push_str(&row(&cells(line)));
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    fn line(said: Option<Validity>) -> Line {
        Line {
            bug: "stale-read".into(),
            what: String::new(),
            workload: "register".into(),
            nemesis: "none".into(),
            expected: Validity::Invalid,
            said,
            tries: 2,
            found_after: said.map(|_| 1.25),
            took: 31.0,
            checker: "linear".into(),
            reason: "stale | read".into(),
            dir: None,
        }
    }

    #[test]
    fn a_line_says_what_was_found_and_when_and_what_should_have_been() {
        let found = markdown(&[line(Some(Validity::Invalid))]);
        assert!(found.contains("| invalid | linear: stale \\| read | 1.2 s | 31 s, 2 tries |"), "{found}");
        let missed = text(&[line(Some(Validity::Valid)), line(None)]);
        assert!(missed.contains("valid (not") && missed.contains("no verdict"), "{missed}");
    }
}
