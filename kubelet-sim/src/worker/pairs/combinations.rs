//! Every combination of restart policy, kind of container, exit code and probe has its pair of files, and what these
//! tell is what Kubernetes documents: the rules are written down here once more, in words of their own.
//!
//! Init containers have no probes. A probe that fails is a startup or liveness probe whose container is killed and ends
//! with the exit code then, or a readiness probe beside which it ends by itself.

use super::folder;

const POLICIES: [&str; 3] = ["always", "onfailure", "never"];
const PROBES: [&str; 7] = [
    "",
    "startup-passes",
    "startup-fails",
    "readiness-passes",
    "readiness-fails",
    "liveness-passes",
    "liveness-fails",
];

/// The one container that a pair is about.
struct Combination {
    policy: &'static str,
    role: &'static str,
    code: i32,
    probe: &'static str,
}

impl Combination {
    fn all() -> impl Iterator<Item = Self> {
        let of = |role, probes: &'static [&'static str]| {
            POLICIES.into_iter().flat_map(move |policy| {
                [0, 1].into_iter().flat_map(move |code| {
                    probes.iter().map(move |probe| Self { policy, role, code, probe })
                })
            })
        };
        of("init", &PROBES[..1]).chain(of("sidecar", &PROBES)).chain(of("main", &PROBES))
    }

    /// The folder of its pair.
    fn name(&self) -> String {
        let name = format!("{}-{}-exit-{}-{}", self.role, self.policy, self.code, self.probe);
        name.trim_end_matches('-').to_owned()
    }

    fn container(&self) -> &'static str {
        match self.role {
            "init" => "i",
            "sidecar" => "s",
            _ => "c",
        }
    }

    fn is_killed(&self) -> bool {
        matches!(self.probe, "startup-fails" | "liveness-fails")
    }

    /// Sidecars always; others by the policy, where a probe that killed counts as a failure.
    fn restarts(&self) -> bool {
        match (self.role, self.policy) {
            ("sidecar", _) => true,
            ("init", "never") => false,
            ("init", _) => self.code != 0,
            (_, "always") => true,
            (_, "onfailure") => self.code != 0 || self.is_killed(),
            _ => false,
        }
    }

    /// What the pod's phase is in the end.
    fn phase(&self) -> &'static str {
        match (self.role, self.code) {
            ("init", 0) => "Running",
            ("init", _) if self.restarts() => "Pending",
            ("init", _) => "Failed",
            // What comes after a sidecar waits until it has started.
            ("sidecar", _) if self.probe == "startup-fails" => "Pending",
            ("sidecar", _) => "Running",
            _ if self.restarts() => "Running",
            (_, 0) => "Succeeded",
            _ => "Failed",
        }
    }

    /// Whether the pod's main container ever ran.
    fn main_runs(&self) -> bool {
        match self.role {
            "init" => self.code == 0,
            "sidecar" => self.probe != "startup-fails",
            _ => true,
        }
    }

    /// Whether the container, as long as it runs, has started, and is ready.
    fn started_and_ready(&self) -> (bool, bool) {
        let started = self.probe != "startup-fails";
        (started, started && self.probe != "readiness-fails" && self.role != "init")
    }

    /// What of this the pair does not tell.
    fn missing(&self) -> Vec<String> {
        let Ok(text) = std::fs::read_to_string(folder().join(self.name()).join("expected.yaml"))
        else {
            return vec!["there is no such pair".to_owned()];
        };
        let own = format!("; {} ", self.container());
        let of_container = |line: &str| -> Option<String> {
            let (_, rest) = line.split_once(&own)?;
            Some(rest.split("; ").next().unwrap_or_default().to_owned())
        };
        // `   3 = Running -Ready=…; c running started ready x1 (last 0 Completed)`
        let pictures: Vec<&str> = text
            .lines()
            .filter(|line| line.get(6..).is_some_and(|l| l.starts_with(" = ")))
            .collect();
        let phase = pictures.last().and_then(|line| line.get(9..)?.split([' ', ';']).next());
        let states: Vec<String> = pictures.iter().filter_map(|line| of_container(line)).collect();
        let running = |word: &str| {
            let mut runs = states.iter().filter(|state| state.starts_with("running"));
            runs.any(|state| state.split(' ').any(|w| w == word))
        };
        let last = states.last().map(String::as_str).unwrap_or_default();
        let code = [format!("(last {} ", self.code), format!("ended {} ", self.code)];
        let main_began = text.lines().any(|line| line.trim_end().ends_with(" c begin"));
        let facts = [
            ("phase", format!("{phase:?}"), format!("{:?}", Some(self.phase()))),
            ("restarted", last.contains(" x").to_string(), self.restarts().to_string()),
            ("exit code", code.iter().any(|code| last.contains(code)).to_string(), "true".into()),
            ("main ran", main_began.to_string(), self.main_runs().to_string()),
            (
                "started and ready",
                format!("{:?}", (running("started"), running("ready"))),
                format!("{:?}", self.started_and_ready()),
            ),
        ];
        facts
            .into_iter()
            .filter(|(_, told, documented)| told != documented)
            .map(|(what, told, documented)| format!("{what}: {told}, documented: {documented}"))
            .collect()
    }
}

#[test]
fn every_combination_lives_as_documented() {
    let all: Vec<Combination> = Combination::all().collect();
    assert_eq!(all.len(), 6 + 2 * 6 * PROBES.len());
    let wrong: Vec<String> = all
        .iter()
        .flat_map(|one| one.missing().into_iter().map(|what| format!("{}: {what}", one.name())))
        .collect();
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}
