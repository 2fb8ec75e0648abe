use super::*;

const SECOND: Duration = Duration::from_secs(1);

fn zones() -> Zones {
    Zones::new(&Options::default())
}

/// Zones as `zone: ++--`, a sign per node.
fn observe(zones: &mut Zones, words: &[&str], now: u32) -> Shift {
    let ready = words.iter().map(|zone| {
        let (name, nodes) = zone.split_once(": ").expect("zone: nodes");
        (name.to_owned(), nodes.chars().map(|sign| sign == '+').collect())
    });
    zones.observe(&ready.collect(), SECOND * now)
}

#[test]
fn states_follow_the_share_of_silent_nodes() {
    let check = |nodes: &str, expected: State| {
        let mut zones = zones();
        observe(&mut zones, &[&format!("a: {nodes}"), "other: +"], 0);
        assert_eq!(zones.state("a"), Some(expected), "{nodes}");
    };
    check("+", State::Normal);
    check("-", State::FullDisruption);
    check("+-", State::Normal);
    check("+--", State::Normal);
    check("++---", State::PartialDisruption);
    check("+++---", State::Normal);
    check("---", State::FullDisruption);
    check("+---", State::PartialDisruption);
}

#[test]
fn one_node_in_ten_seconds_goes() {
    let mut zones = zones();
    observe(&mut zones, &["a: +++--"], 0);
    assert_eq!(zones.turn("a", "n1", SECOND), Turn::Now);
    assert_eq!(zones.turn("a", "n2", SECOND), Turn::After(SECOND * 10));
    assert_eq!(zones.turn("a", "n3", SECOND), Turn::After(SECOND * 20));
    assert_eq!(zones.turn("a", "n3", SECOND * 11), Turn::After(SECOND * 10), "n2 is first");
    assert_eq!(zones.turn("a", "n2", SECOND * 11), Turn::Now);
    assert_eq!(zones.leave("n3"), None);
    assert_eq!(zones.turn("a", "n4", SECOND * 12), Turn::After(SECOND * 9));
    zones.turn("a", "n5", SECOND * 12);
    assert_eq!(zones.leave("n4"), Some("n5".to_owned()), "the next may ask");
    assert_eq!(zones.turn("a", "n5", SECOND * 21), Turn::Now);
    zones.give_back("a", "n5");
    assert_eq!(zones.turn("a", "n5", SECOND * 21), Turn::Now);
}

#[test]
fn a_small_zone_in_partial_disruption_stops_and_a_large_one_slows_down() {
    let mut zones = zones();
    let large = format!("large: {}{}", "+".repeat(20), "-".repeat(31));
    assert!(observe(&mut zones, &["small: +---", &large], 0).rates);
    assert_eq!(zones.turn("small", "s", SECOND), Turn::Never);
    assert_eq!(zones.turn("large", "l1", SECOND), Turn::Now);
    assert_eq!(zones.turn("large", "l2", SECOND), Turn::After(SECOND * 100));
    assert_eq!(zones.turn("unknown", "x", SECOND), Turn::Never);
    assert_eq!(observe(&mut zones, &["small: +---", &large], 5), Shift::default());
    // Back to normal: the line goes on, and waits for its first token.
    assert!(observe(&mut zones, &["small: ++--", "large: +"], 10).rates);
    assert_eq!(zones.turn("small", "s", SECOND * 10), Turn::After(SECOND * 10));
}

#[test]
fn when_all_are_silent_nothing_is_evicted_until_one_answers() {
    let mut zones = zones();
    assert_eq!(
        observe(&mut zones, &["a: ++", "b: +"], 0),
        Shift { rates: true, ..Shift::default() }
    );
    observe(&mut zones, &["a: --", "b: +"], 1);
    assert_eq!(zones.state("a"), Some(State::FullDisruption));
    assert_eq!(zones.turn("a", "n", SECOND), Turn::Now, "b still answers: a's nodes are gone");
    let stopped = observe(&mut zones, &["a: --", "b: -"], 2);
    assert_eq!(stopped, Shift { stopped: true, ..Shift::default() });
    assert!(zones.stopped());
    assert_eq!(zones.turn("a", "m", SECOND * 60), Turn::Never);
    assert_eq!(observe(&mut zones, &["a: --", "b: -"], 70), Shift::default());
    let resumed = observe(&mut zones, &["a: +-", "b: -"], 80);
    assert_eq!(resumed, Shift { rates: true, resumed: true, stopped: false });
    assert!(!zones.stopped());
    assert_eq!(zones.turn("a", "m", SECOND * 80), Turn::After(SECOND * 10));
}

#[test]
fn the_first_look_at_a_cluster_that_does_not_answer_stops_evictions() {
    let mut zones = zones();
    assert!(observe(&mut zones, &["a: -"], 0).stopped);
    assert!(observe(&mut zones, &["a: +"], 1).resumed);
    assert_eq!(observe(&mut zones, &[], 2), Shift::default());
    assert_eq!(zones.state("a"), None, "a zone without nodes is forgotten");
}
