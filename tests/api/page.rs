//! A Markdown page as text and examples: commands in `console` blocks and what they print.

use std::fs;
use std::path::Path;

/// A command and what it prints.
#[derive(Clone, Debug)]
pub(crate) struct Example {
    /// The line of the page, from 1.
    pub(crate) line: usize,
    /// What follows the `$`; further lines of it begin with `>`.
    pub(crate) command: String,
    /// What it prints, without the last newline.
    pub(crate) output: String,
}

enum Part {
    Text(String),
    Example(Example),
}

/// A page.
pub(crate) struct Page(Vec<Part>);

impl Page {
    pub(crate) fn read(file: &Path) -> Self {
        let text = fs::read_to_string(file).unwrap();
        let mut parts = Vec::new();
        let mut inside = false;
        for (at, line) in text.lines().enumerate() {
            if line.starts_with("```") {
                inside = line == "```console";
                parts.push(Part::Text(line.to_owned()));
            } else if let Some(command) = line.strip_prefix("$ ").filter(|_| inside) {
                let (command, output) = (command.to_owned(), String::new());
                parts.push(Part::Example(Example { line: at + 1, command, output }));
            } else {
                match parts.last_mut() {
                    Some(Part::Example(example)) if inside => example.add(line),
                    _ => parts.push(Part::Text(line.to_owned())),
                }
            }
        }
        Self(parts)
    }

    pub(crate) fn write(&self, file: &Path) {
        let mut text = String::new();
        for part in &self.0 {
            match part {
                Part::Text(line) => text.push_str(line),
                Part::Example(example) => {
                    text.push_str("$ ");
                    text.push_str(&example.command.replace('\n', "\n> "));
                    if !example.output.is_empty() {
                        text.push('\n');
                        text.push_str(&example.output);
                    }
                }
            }
            text.push('\n');
        }
        fs::write(file, text).unwrap();
    }

    pub(crate) fn examples(&self) -> impl Iterator<Item = &Example> {
        self.0.iter().filter_map(|part| match part {
            Part::Example(example) => Some(example),
            Part::Text(_) => None,
        })
    }

    pub(crate) fn examples_mut(&mut self) -> impl Iterator<Item = &mut Example> {
        self.0.iter_mut().filter_map(|part| match part {
            Part::Example(example) => Some(example),
            Part::Text(_) => None,
        })
    }
}

impl Example {
    fn add(&mut self, line: &str) {
        if let Some(more) = line.strip_prefix("> ").filter(|_| self.output.is_empty()) {
            self.command.push('\n');
            self.command.push_str(more);
        } else {
            if !self.output.is_empty() {
                self.output.push('\n');
            }
            self.output.push_str(line);
        }
    }
}
