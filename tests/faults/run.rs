//! A run: rounds of trouble, each with a rest after it, at which everything must be in order.

use std::fmt::Write as _;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use serde_json::json;

use crate::chance::Chance;
use crate::history::{self, Kind, Version, Which};
use crate::judge::Judge;
use crate::leaks;
use crate::operator::Held;
use crate::people;
use crate::schedule::{self, Lane, NAMESPACES, Round, SLOTS, Step, Who};
use crate::service::INSTANCES;
use crate::settled::{self, Amiss};
use crate::stage::{OPERATOR_NAMESPACE, Stage};
use crate::trouble;

/// How long everything may take to come in order by itself, before it is forced.
const BY_ITSELF: Duration = Duration::from_secs(4);
/// How long it may take then: forced syncs of one object are ten seconds apart, calls that hang
/// end after half a minute, and the garbage collector has its own pace.
const FORCED: Duration = Duration::from_secs(90);
/// Whoever asks by hand asks again after so long: a refusal of just before stands for ten seconds
/// against them too.
const ASKED_AGAIN: Duration = Duration::from_secs(20);
/// Files that the operator may hold at a rest beside its connections, and threads.
const FILES: usize = 24;
const THREADS: usize = 24;
/// Connections that it may hold to the service: one for each instance and host, and those that
/// were begun beside them.
const TO_SERVICE: usize = 12;
/// Its watches, one for each write that may be in flight, and a few.
const TO_API_SERVER: usize = 44;
/// How much more it may hold at the end than at the beginning.
const MORE: usize = 4;

/// How a run goes.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Plan {
    pub(crate) seed: u64,
    pub(crate) rounds: u64,
    /// No further round begins after this long.
    pub(crate) limit: Option<Duration>,
}

struct Run {
    stage: Arc<Stage>,
    plan: Plan,
    judge: Judge,
    heard: usize,
    stamps: AtomicU64,
    forced: usize,
    most: Held,
    began: Instant,
    /// What the last round did.
    last: Option<Round>,
}

/// Runs, and panics with the whole story where something is not in order.
pub(crate) async fn run(plan: Plan) {
    let began = Instant::now();
    eprintln!("faults: SEED={} ROUNDS={}", plan.seed, plan.rounds);
    let Some(stage) = Stage::set(plan.seed).await else {
        eprintln!("faults: nothing is done to a cluster that was given");
        return;
    };
    let mut run = Run {
        stage,
        plan,
        judge: Judge::default(),
        heard: 0,
        stamps: AtomicU64::new(0),
        forced: 0,
        most: Held::default(),
        began,
        last: None,
    };
    let mut chance = Chance::of(plan.seed).split(3);
    run.stage.start();
    for slot in 0..SLOTS {
        let spec = schedule::spec(&mut chance, slot);
        run.stage.spec(slot, spec).await;
    }
    run.rest("the beginning").await;
    run.stage.service.keep("rest-1");
    run.stage.service.keep("rest-0");
    let calm = run.held();
    let mut done = 0;
    for number in 0..plan.rounds {
        if plan.limit.is_some_and(|limit| began.elapsed() > limit) {
            break;
        }
        let round = schedule::round(plan.seed, number);
        run.round(number, &round, &chance.split(number)).await;
        done += 1;
    }
    run.storm(&mut chance, calm).await;
    run.end(done).await;
}

impl Run {
    async fn round(&mut self, number: u64, round: &Round, chance: &Chance) {
        let stage = Arc::clone(&self.stage);
        // What was held at the rest before the last one, and what is held now.
        let (old, new) = (format!("rest-{}", number % 2), "now");
        if round.rolled_back {
            stage.service.keep(new);
            stage.service.go_back_to(&old);
        }
        let upsets = round
            .steps
            .iter()
            .filter(|step| matches!(step.lane, Lane::Cluster | Lane::Operator | Lane::Namespace));
        let upsets: Vec<String> = upsets.map(|step| step.act.to_string()).collect();
        eprintln!("faults: round {number}: {}", upsets.join(", "));
        self.last = Some(round.clone());
        people::carry_out(&stage, round, chance).await;
        if round.rolled_back {
            stage.service.go_back_to(new);
        }
        stage.heal();
        stage.start();
        self.rest(&format!("round {number}")).await;
        stage.service.keep(&old);
    }

    /// Waits until everything is in order, and judges what happened since the last rest.
    async fn rest(&mut self, what: &str) {
        let stage = Arc::clone(&self.stage);
        let began = Instant::now();
        for name in INSTANCES {
            let which = Which::new(Kind::Instance, OPERATOR_NAMESPACE, name);
            self.ask(&which).await;
        }
        if !self.come_in_order(BY_ITSELF).await {
            let mut left = self.amiss();
            left.dedup_by(|one, other| one.which == other.which);
            for Amiss { which, what } in &left {
                let what = what.split(" it says: ").next().unwrap_or_default();
                eprintln!(
                    "faults:   forced: {}/{}: {what}",
                    which.namespace, which.name
                );
            }
            self.forced += left.len();
            let end = Instant::now() + FORCED;
            loop {
                let left = self.amiss();
                let keys = left.iter().filter(|amiss| amiss.which.kind == Kind::Key);
                for amiss in keys {
                    self.ask(&amiss.which).await;
                }
                if self.come_in_order(ASKED_AGAIN).await {
                    break;
                }
                if Instant::now() > end {
                    let left = self.amiss().into_iter();
                    let left: Vec<_> = left.map(|amiss| (amiss.which, amiss.what)).collect();
                    self.fail(what, &left);
                }
            }
        }
        let held = self.leaks(what).await;
        self.most.files = self.most.files.max(held.files);
        self.most.threads = self.most.threads.max(held.threads);
        // What is written from here on belongs to the next round.
        let at = stage.recorder.now();
        stage.recorder.catch_up().await;
        self.hear(what);
        self.judge.rest(at);
        eprintln!(
            "faults: {what}: in order after {:.1} s ({} s in all, {} versions judged)",
            began.elapsed().as_secs_f32(),
            self.began.elapsed().as_secs(),
            self.judge.judged
        );
    }

    fn hear(&mut self, what: &str) {
        let versions = self.stage.recorder.since(self.heard);
        self.heard += versions.len();
        let intents = self.stage.intents();
        let complaints = self
            .judge
            .hear(&versions, &self.stage.service.ledger(), &intents);
        if !complaints.is_empty() {
            let all: Vec<(Which, String)> = complaints
                .iter()
                .map(|complaint| (complaint.which.clone(), complaint.to_string()))
                .collect();
            self.fail(what, &all);
        }
    }

    /// Asks for a look now.
    async fn ask(&self, which: &Which) -> String {
        let stamp = format!("s{}", self.stamps.fetch_add(1, Ordering::Relaxed));
        let asked =
            json!({"metadata": {"annotations": {"keyprotect.dev/sync-requested-at": stamp}}});
        self.stage.patch(which, asked).await;
        stamp
    }

    fn amiss(&self) -> Vec<Amiss> {
        amiss(&self.stage)
    }

    async fn come_in_order(&self, patience: Duration) -> bool {
        let stage = &self.stage;
        stage
            .recorder
            .until(patience, |present| {
                let ledger = stage.service.ledger();
                let objects = settled::amiss(present, &ledger, &NAMESPACES);
                objects.is_empty() && instances_are_ready(present)
            })
            .await
    }

    /// What the replicas hold together, without their connections, of which there are more or
    /// less as they are needed.
    fn held(&self) -> Held {
        let open = self.to_api_server() + self.stage.service.emulator.open_connections();
        let mut all = Held::default();
        for replica in self.stage.replicas(Who::All) {
            let held = replica.process().held();
            all.files += held.files;
            all.threads += held.threads;
        }
        all.files = all.files.saturating_sub(open);
        all
    }

    fn to_api_server(&self) -> usize {
        let all = self.stage.replicas(Who::All).into_iter();
        all.map(|replica| replica.proxy.open()).sum()
    }

    /// Checks that nothing is left open; what the replicas hold.
    async fn leaks(&self, what: &str) -> Held {
        let stage = &self.stage;
        let service = || stage.service.emulator.open_connections();
        let fits = || {
            let replicas = stage.replicas(Who::All);
            let held = self.held();
            held.files <= FILES * replicas.len()
                && held.threads <= THREADS * replicas.len()
                && service() <= TO_SERVICE
                && replicas.iter().all(|of| of.proxy.open() <= TO_API_SERVER)
        };
        // What was cut is closed when whoever held it comes round to it.
        if !eventually(Duration::from_secs(20), fits).await {
            let story = format!(
                "the replicas hold {:?}, {} connections to the service and {} to the API server",
                self.held(),
                service(),
                self.to_api_server()
            );
            self.fail(what, &[(nothing(), story)]);
        }
        let all = stage.replicas(Who::All);
        if all.iter().any(|replica| replica.process().has_ended()) {
            self.fail(what, &[(nothing(), "a replica ended by itself".to_owned())]);
        }
        self.held()
    }

    /// Trouble without a kill: what the operator holds after it is what it held before.
    async fn storm(&mut self, chance: &mut Chance, calm: Held) {
        let stage = Arc::clone(&self.stage);
        let mut troubles = chance.shuffled(trouble::KEYS);
        troubles.retain(|trouble| !trouble::refuses(trouble));
        for trouble in troubles.into_iter().take(12) {
            stage.heal();
            stage.service.begin(trouble, chance);
            for name in INSTANCES {
                let which = Which::new(Kind::Instance, OPERATOR_NAMESPACE, name);
                self.ask(&which).await;
            }
            stage
                .replicas(Who::All)
                .iter()
                .for_each(|of| of.proxy.cut());
            let alias = chance.pick(&crate::service::ALIASES);
            stage.service.move_alias(0, alias);
            tokio::time::sleep(Duration::from_millis(250)).await;
        }
        stage.heal();
        self.rest("the storm").await;
        let fits = || {
            let now = self.held();
            now.files <= calm.files + MORE && now.threads <= calm.threads + MORE
        };
        if !eventually(Duration::from_secs(20), fits).await {
            let now = self.held();
            let story = format!("it held {calm:?} in the calm and holds {now:?} after the storm");
            self.fail("the storm", &[(nothing(), story)]);
        }
    }

    /// Ends the operator well, and looks for what it left behind.
    async fn end(&mut self, rounds: u64) {
        let stage = Arc::clone(&self.stage);
        let stop = Arc::clone(&stage);
        let well = tokio::task::spawn_blocking(move || {
            stop.replicas(Who::All).iter().all(|of| of.process().stop())
        });
        if !well.await.expect("their end") {
            self.fail(
                "the end",
                &[(nothing(), "a replica did not end well".to_owned())],
            );
        }
        let closed = || stage.service.emulator.open_connections() + self.to_api_server() == 0;
        if !eventually(Duration::from_secs(20), closed).await {
            let story = "connections outlive the operator".to_owned();
            self.fail("the end", &[(nothing(), story)]);
        }
        for log in stage.logs() {
            if let Some(said) = self.said_too_much(&log) {
                self.fail("the end", &[(nothing(), said)]);
            }
        }
        let all = stage.replicas(Who::All).into_iter();
        let starts: u64 = all.map(|replica| replica.process().starts).sum();
        let intents = stage.intents().len();
        eprintln!(
            "faults: SEED={}: {rounds} rounds, {starts} starts of the operator, {} versions of \
             Secrets judged, {intents} things done to Secrets by hand, {} objects forced, at most \
             {} files and {} threads, {} s",
            self.plan.seed,
            self.judge.judged,
            self.forced,
            self.most.files,
            self.most.threads,
            self.began.elapsed().as_secs()
        );
        let cluster = stage.cluster;
        tokio::task::spawn_blocking(|| cluster.down())
            .await
            .expect("the cluster's end");
    }

    /// What the log must not hold: payloads in any form, and what the operator itself calls a bug.
    fn said_too_much(&self, log: &str) -> Option<String> {
        let ledger = self.stage.service.ledger();
        let mut lines = log.lines();
        if lines.any(|line| leaks::find(line, ledger.passwords()).is_some()) {
            return Some("the log holds a payload".to_owned());
        }
        let bug = log
            .lines()
            .find(|line| line.contains("please report this") || line.contains("panicked"));
        bug.map(|line| format!("the log has: {line}"))
    }

    /// Ends the test with everything that somebody needs who wants to know why.
    fn fail(&self, what: &str, wrongs: &[(Which, String)]) -> ! {
        let stage = &self.stage;
        let mut story = format!("after {what}, with SEED={}:\n", self.plan.seed);
        for (which, wrong) in wrongs.iter().take(12) {
            writeln!(story, "- {which:?}: {wrong}").expect("text");
        }
        if let Some(round) = &self.last {
            writeln!(story, "the last round, rolled back: {}", round.rolled_back).expect("text");
            for Step { at, lane, act } in &round.steps {
                writeln!(story, "  {at} ms, {lane:?}: {act:?}").expect("text");
            }
        }
        if let Some((which, _)) = wrongs.iter().find(|(which, _)| !which.name.is_empty()) {
            story.push_str(&self.tell(which));
        }
        for (nth, log) in stage.logs().iter().enumerate() {
            let ended = stage.replicas(Who::All)[nth].process().has_ended();
            let is = if ended { "ended" } else { "running" };
            writeln!(story, "the end of the log of replica {nth} ({is}):").expect("text");
            let lines: Vec<&str> = log.lines().rev().take(40).collect();
            for line in lines.into_iter().rev() {
                writeln!(story, "  {line}").expect("text");
            }
        }
        let kept = stage.cluster.scratch();
        writeln!(story, "the whole logs: {}", kept.display()).expect("text");
        panic!("{story}");
    }

    /// The history of an object and its Secret, without any value.
    fn tell(&self, which: &Which) -> String {
        let stage = &self.stage;
        let mut versions = stage.recorder.history(which);
        if which.kind == Kind::Key {
            let targets: std::collections::BTreeSet<String> = versions
                .iter()
                .filter_map(|version| version.object.as_ref())
                .map(|object| crate::want::target(object).to_owned())
                .collect();
            for target in targets {
                let secret = Which::new(Kind::Secret, &which.namespace, &target);
                versions.extend(stage.recorder.history(&secret));
            }
        } else {
            let of_key = Which::new(Kind::Key, &which.namespace, &which.name);
            versions.extend(stage.recorder.history(&of_key));
        }
        versions.sort_by_key(|version| version.revision);
        let ledger = stage.service.ledger();
        let mut told = String::from("its history:\n");
        for version in &versions {
            writeln!(told, "  {}", line(version, &ledger)).expect("text");
        }
        for intent in stage.intents() {
            if intent.namespace == which.namespace && intent.name == which.name {
                let act = match intent.act {
                    crate::judge::Act::Edit(entry, _) => format!("edit of {entry}"),
                    other => format!("{other:?}"),
                };
                writeln!(told, "  by hand, from {} ms on: {act}", intent.at).expect("text");
            }
        }
        told
    }
}

fn line(version: &Version, ledger: &crate::ledger::Ledger) -> String {
    let Which { kind, name, .. } = &version.which;
    let (at, revision) = (version.at, version.revision);
    let Some(object) = &version.object else {
        return format!("{at} ms, {revision}: {kind:?} {name} is gone");
    };
    if *kind == Kind::Secret {
        let data: Vec<String> = history::data(object)
            .iter()
            .map(|(entry, value)| format!("{entry}: {}", ledger.describe(value)))
            .collect();
        let label = history::label(object, crate::judge::TARGET_LABEL);
        let uid = history::uid(object);
        let owners = history::owners(object);
        return format!(
            "{at} ms, {revision}: {kind:?} {name} {uid}, label {label:?}, owners {owners:?}, {}",
            data.join(", ")
        );
    }
    let conditions = object["status"]["conditions"]
        .as_array()
        .into_iter()
        .flatten();
    let ready = conditions.clone().find(|c| c["type"] == "Ready");
    let ready = ready.map_or_else(String::new, |ready| {
        format!(
            "{} {} ({})",
            ready["status"], ready["reason"], ready["message"]
        )
    });
    format!(
        "{at} ms, {revision}: {kind:?} {name} {}, generation {}, spec {}, Ready {ready}, keys {}",
        history::uid(object),
        object["metadata"]["generation"],
        object["spec"],
        object["status"]["keys"]
            .as_array()
            .into_iter()
            .flatten()
            .map(|key| key["id"].to_string())
            .collect::<Vec<_>>()
            .join(" ")
    )
}

fn nothing() -> Which {
    Which::new(Kind::Namespace, "", "")
}

fn amiss(stage: &Stage) -> Vec<Amiss> {
    let mut all = stage
        .recorder
        .look(|present| settled::amiss(present, &stage.service.ledger(), &NAMESPACES));
    let instances = INSTANCES.map(|name| Which::new(Kind::Instance, OPERATOR_NAMESPACE, name));
    let ready = stage.recorder.look(instances_are_ready);
    if !ready {
        all.extend(instances.map(|which| Amiss {
            which,
            what: "not every instance is Ready and has answered".to_owned(),
        }));
    }
    all
}

/// Whether every instance is Ready, for its spec as it is, and has answered what it was asked.
fn instances_are_ready(present: &history::Present) -> bool {
    INSTANCES.iter().all(|name| {
        let which = Which::new(Kind::Instance, OPERATOR_NAMESPACE, name);
        let object = present
            .get(&which)
            .and_then(|version| version.object.as_ref());
        object.is_some_and(|object| {
            let status = &object["status"];
            let conditions = status["conditions"].as_array().into_iter().flatten();
            let mut ready = conditions.filter(|c| c["type"] == "Ready" && c["status"] == "True");
            let asked = history::annotation(object, "keyprotect.dev/sync-requested-at");
            ready.next().is_some()
                && status["observedGeneration"] == object["metadata"]["generation"]
                && status["lastHandledSyncRequest"].as_str() == asked
        })
    })
}

/// Waits for something that nobody tells of.
async fn eventually(patience: Duration, holds: impl Fn() -> bool) -> bool {
    let begun = Instant::now();
    loop {
        if holds() {
            return true;
        }
        if begun.elapsed() > patience {
            return false;
        }
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}
