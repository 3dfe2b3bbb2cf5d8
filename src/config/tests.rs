//! What settings are taken, refused, and how a refusal reads.

use super::*;

fn flags(pairs: &[(&str, &str)]) -> Vec<Given> {
    pairs
        .iter()
        .map(|(setting, text)| Given {
            setting: (*setting).to_owned(),
            text: (*text).to_owned(),
            source: Source::Flag,
        })
        .collect()
}

fn founders() -> Vec<(&'static str, &'static str)> {
    vec![
        ("data-dir", "no-such-directory"),
        ("node", "2"),
        ("listen", "127.0.0.1:7102"),
        ("founders", "1=127.0.0.1:7101,2=127.0.0.1:7102,3=127.0.0.1:7103"),
    ]
}

fn with(more: &[(&'static str, &'static str)]) -> Result<Config, ConfigError> {
    let mut pairs = founders();
    pairs.extend_from_slice(more);
    resolve(&flags(&pairs), None)
}

#[test]
fn a_founder_needs_only_four_settings() {
    let config = with(&[]).unwrap();
    let Start::Found(founding) = &config.start else { panic!("{config:?}") };
    assert_eq!((founding.groups, founding.replicas), (24, 3));
    assert_eq!(config.advertise.as_deref(), Some("127.0.0.1:7102"));
    assert_eq!(config.heartbeat(300), Duration::from_millis(300));
    assert_eq!(config.heartbeat(301), Duration::from_secs(1));
    assert_eq!(config.log.keep_entries, 4096);
    assert_eq!(config.log.checkpoint_after_bytes, 64 << 20);
}

#[test]
fn one_founder_gets_sixteen_groups() {
    let config = with(&[("founders", "2=127.0.0.1:7102")]).unwrap();
    let Start::Found(founding) = &config.start else { panic!("{config:?}") };
    assert_eq!((founding.groups, founding.replicas), (16, 1));
}

#[test]
fn flags_win_over_the_file() {
    let text = "node = 9\nheartbeat_ms = 500\nfounders = [\"1=a:1\", \"2=127.0.0.1:7102\"]\n";
    let file = SettingsFile { path: "t.toml".into(), text: text.to_owned() };
    let given = flags(&[("data-dir", "nowhere"), ("node", "2")]);
    let config = resolve(&given, Some(&file)).unwrap();
    assert_eq!(config.node, NodeId(2));
    assert_eq!(config.heartbeat(1000), Duration::from_millis(500));
}

#[test]
fn all_problems_are_reported_at_once_with_their_source() {
    let text = "data_dirr = \"x\"\ngroups = 0\nlisten = true\n";
    let file = SettingsFile { path: "t.toml".into(), text: text.to_owned() };
    let mut given = flags(&[("founders", "1=a:1,1=a:1,zwei=b:2,3"), ("log-level", "loud")]);
    given.push(Given {
        setting: "node".to_owned(),
        text: "minus".to_owned(),
        source: Source::Environment,
    });
    let error = resolve(&given, Some(&file)).unwrap_err().to_string();
    for part in [
        "data-dir: it is required",
        "listen (file t.toml): it has the wrong type",
        "node = \"minus\" (environment TETRARCH_NODE): it is not a whole number",
        "node 1 is there twice",
        "a:1 is there twice",
        "\"zwei\" is not an id",
        "\"3\" is not ID=HOST:PORT",
        "groups = \"0\" (file t.toml): it is out of bounds; give a number from 1 to 16384",
        "(flag --log-level)",
        "data_dirr = \"x\" (file t.toml): there is no such setting",
    ] {
        assert!(error.contains(part), "{part:?} is missing in:\n{error}");
    }
}

#[test]
fn founding_and_joining_exclude_each_other() {
    let error = with(&[("join", "http://a:1")]).unwrap_err();
    assert_eq!(error.problems.len(), 1);
    assert!(error.to_string().contains("either founds or joins"));
}

#[test]
fn a_joining_node_gives_no_groups() {
    let base = [("data-dir", "no-such-directory"), ("node", "4"), ("listen", "127.0.0.1:0")];
    let mut pairs = base.to_vec();
    pairs.push(("join", "http://a:1/, http://[::1]:2"));
    let config = resolve(&flags(&pairs), None).unwrap();
    assert_eq!(config.start, Start::Join(vec!["http://a:1".into(), "http://[::1]:2".into()]));
    assert_eq!(config.advertise, None);
    assert_eq!(config.advertised("127.0.0.1:9".parse().unwrap()), "127.0.0.1:9");
    pairs.push(("groups", "5"));
    pairs.push(("join", "a:1"));
    let error = resolve(&flags(&pairs), None).unwrap_err().to_string();
    assert!(error.contains("fixed when the cluster is founded"), "{error}");
    assert!(error.contains("has no http://"), "{error}");
}

#[test]
fn an_empty_directory_has_nothing_to_recover() {
    let pairs = [("data-dir", "no-such-directory"), ("node", "1")];
    let error = resolve(&flags(&pairs), None).unwrap_err().to_string();
    assert!(error.contains("holds no cluster yet"), "{error}");
}

#[test]
fn an_address_that_nobody_can_dial_is_refused() {
    let pairs = [("data-dir", "d"), ("node", "4"), ("listen", "0.0.0.0:1"), ("join", "http://a:1")];
    let error = resolve(&flags(&pairs), None).unwrap_err().to_string();
    assert!(error.contains("advertise: it is required"), "{error}");
    let error = with(&[("advertise", "[::]:7102")]).unwrap_err().to_string();
    assert!(error.contains("nobody can dial") && error.contains("founders says"), "{error}");
}

#[test]
fn connections_to_other_nodes_come_from_an_address_that_can_be_bound() {
    assert_eq!(with(&[]).unwrap().peer_source, None);
    let source = with(&[("peer-source", " 127.0.1.2 ")]).unwrap().peer_source;
    assert_eq!(source, Some("127.0.1.2".parse().unwrap()));
    for wrong in ["127.0.1.2:80", "a.example", "0.0.0.0", "::", "224.0.0.1"] {
        let error = with(&[("peer-source", wrong)]).unwrap_err();
        assert_eq!(error.problems.len(), 1, "{error}");
        assert!(error.to_string().contains("peer-source"), "{error}");
    }
}

#[test]
fn a_segment_must_hold_the_longest_value() {
    let error = with(&[("segment-mib", "8")]).unwrap_err();
    assert!(error.to_string().contains("segment-mib"), "{error}");
}
