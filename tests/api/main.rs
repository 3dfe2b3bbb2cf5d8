//! `docs/api.md`, run: every example against a real three-node cluster, at a node that does not lead.
//!
//! Why it exists: an example that nobody runs is wrong within a month. Each command of the page is run
//! as it stands, with only the node exchanged for one that does not lead the key, and what it prints
//! is compared with the page. Numbers that no two clusters share are compared by their form.
//!
//! `TETRARCH_UPDATE_DOCS=1 cargo test --test api` writes the outputs of the run into the page.

#![allow(
    clippy::unwrap_used,
    clippy::panic,
    clippy::print_stdout,
    clippy::indexing_slicing,
    clippy::disallowed_methods,
    reason = "a test fails by panicking, talks to whoever runs it, and is no part of a node"
)]

#[allow(dead_code, reason = "each test target uses its part of the support")]
#[path = "../support/mod.rs"]
mod support;

mod covered;
mod form;
mod page;
mod runner;

use std::path::Path;

use support::cluster::{Cluster, Shape};

use page::Page;
use runner::Runner;

/// Rewrites the page instead of comparing with it.
const UPDATE: &str = "TETRARCH_UPDATE_DOCS";

#[tokio::test(flavor = "multi_thread")]
async fn every_example_of_the_api_page_does_what_the_page_says() {
    let file = Path::new(env!("CARGO_MANIFEST_DIR")).join("docs/api.md");
    let mut page = Page::read(&file);
    assert!(page.examples().count() > 30, "the page has examples");
    let cluster = Cluster::start(&Shape::default()).await;
    cluster.wait_leaders_home(1).await;
    let mut runner = Runner::new(&cluster);
    let updates = std::env::var_os(UPDATE).is_some();
    let mut wrong = Vec::new();
    for example in page.examples_mut() {
        let printed = runner.run(&example.command).await;
        if updates {
            example.output = printed;
        } else if form::of(&printed) != form::of(&example.output) {
            wrong.push(format!(
                "line {}: $ {}\n--- the page says\n{}\n--- the cluster says\n{}",
                example.line, example.command, example.output, printed
            ));
        }
    }
    if updates {
        page.write(&file);
    }
    assert!(wrong.is_empty(), "{} examples are wrong:\n{}", wrong.len(), wrong.join("\n\n"));
    println!(
        "{} commands run, {} of them for a key, each at a node that does not lead it",
        runner.commands, runner.for_a_key
    );
    assert!(runner.for_a_key > 15, "examples for keys were sent to nodes that do not lead them");
    covered::check(&page, &cluster).await;
}
