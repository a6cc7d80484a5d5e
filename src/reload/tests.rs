//! Every way in which rule files change, and what must not go live. Nothing here waits: what stands between two readings is
//! told, and what happens meanwhile happens in it.

use std::{
    ffi::CString,
    fs::{self, File},
    io::Write as _,
    os::unix::{
        ffi::OsStrExt as _,
        fs::{PermissionsExt as _, symlink},
    },
    sync::{
        Weak,
        atomic::{AtomicBool, Ordering::Relaxed},
    },
};

use tempfile::TempDir;

use super::{last_good::LastGood, *};
use crate::{config::settings::RuleFiles, rules::identity::HashKey};

const NOW: Timestamp = Timestamp::from_secs(1_767_225_600);

/// One rule, in a limit that tells versions apart.
fn one(count: u64) -> String {
    format!("domain: shop\ndescriptors:\n  - {{key: k, name: per-k, limits: [{count}/day]}}\n")
}

/// So many rules, three lines each.
fn many(rules: usize, count: u64) -> String {
    let rule = |number| format!("  - key: k{number}\n    limits:\n      - {count}/day\n");
    format!("domain: shop\ndescriptors:\n{}", (0..rules).map(rule).collect::<String>())
}

/// Rules in a directory, and what watches them.
struct Watched {
    dir: TempDir,
    reload: Reload,
    live: Arc<Live>,
    telemetry: Arc<Telemetry>,
}

impl Watched {
    /// Loaded already: the file `shop.yaml` with this text.
    fn with(text: &str) -> Self {
        let watched = Self::over(tempfile::tempdir().unwrap());
        watched.write("shop.yaml", text);
        watched.reload.start(NOW);
        watched
    }

    fn over(dir: TempDir) -> Self {
        let (live, health, telemetry): (Arc<Live>, Arc<Health>, _) =
            (Arc::default(), Arc::default(), Telemetry::new(1));
        let book = Arc::new(Book::open(Arc::clone(&live), HashKey::Secret([7; 16]), None, NOW));
        let last_good = LastGood::new(None);
        let source = Source { path: dir.path().to_owned(), files: RuleFiles::Yaml };
        let defaults = DomainDefaults::default();
        let reload = Reload::new(source, defaults, last_good, Arc::clone(&live), book, health, Arc::clone(&telemetry));
        Self { dir, reload, live, telemetry }
    }

    fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    fn write(&self, name: &str, text: &str) {
        fs::write(self.path(name), text).unwrap();
    }

    /// Looks once; nothing happens between the readings.
    fn look(&self) -> Outcome {
        self.reload.look_pausing(NOW, &mut || {})
    }

    fn ask(&self) -> Outcome {
        self.reload.reload_pausing(NOW, &mut || {})
    }

    /// The count of the first limit, and how many rules there are.
    fn live(&self) -> (u64, usize) {
        let generation = self.live.snapshot().clone().unwrap();
        let rules = &generation.rules.domains["shop".as_bytes()].rules;
        (rules[0].limits()[0].limit.count, rules.len())
    }

    fn generation(&self) -> u64 {
        self.live.snapshot().as_ref().unwrap().number
    }

    /// What became of the files as they are: the word, and the first diagnostic.
    fn told(&self) -> (&'static str, String) {
        let files = self.reload.standing().0.files;
        (files.word(), files.diagnostics().first().map(ToString::to_string).unwrap_or_default())
    }

    fn metric(&self, series: &str) -> u32 {
        let text = self.telemetry.render();
        let value = text.lines().find_map(|line| line.strip_prefix(series)?.strip_prefix(' ')).unwrap_or("0");
        value.parse().unwrap()
    }
}

/// A way of changing `shop.yaml`, by its name.
type Change = (&'static str, fn(&Watched, &str));

#[test]
fn every_way_of_changing_a_file_is_live_with_the_next_look() {
    let ways: &[Change] = &[
        ("in place", |watched, text| watched.write("shop.yaml", text)),
        ("renamed over, in the directory", |watched, text| {
            watched.write("shop.yaml.new", text);
            fs::rename(watched.path("shop.yaml.new"), watched.path("shop.yaml")).unwrap();
        }),
        ("renamed over, from elsewhere", |watched, text| {
            let elsewhere = tempfile::tempdir().unwrap();
            fs::write(elsewhere.path().join("new"), text).unwrap();
            fs::rename(elsewhere.path().join("new"), watched.path("shop.yaml")).unwrap();
        }),
        ("deleted and created", |watched, text| {
            fs::remove_file(watched.path("shop.yaml")).unwrap();
            watched.write("shop.yaml", text);
        }),
        ("another file at its path, as a bind mount puts it there", |watched, text| {
            watched.write("other", text);
            fs::remove_file(watched.path("shop.yaml")).unwrap();
            fs::hard_link(watched.path("other"), watched.path("shop.yaml")).unwrap();
            fs::remove_file(watched.path("other")).unwrap();
        }),
        ("a link in its place", |watched, text| {
            watched.write(".elsewhere", text);
            fs::remove_file(watched.path("shop.yaml")).unwrap();
            symlink(".elsewhere", watched.path("shop.yaml")).unwrap();
        }),
        ("the target of the link written", |watched, text| watched.write(".elsewhere", text)),
        ("moved to another name", |watched, text| {
            fs::remove_file(watched.path("shop.yaml")).unwrap();
            fs::create_dir(watched.path("deep")).unwrap();
            watched.write("deep/rules.yml", text);
        }),
        ("and back", |watched, text| {
            fs::remove_dir_all(watched.path("deep")).unwrap();
            watched.write("shop.yaml", text);
        }),
    ];
    let watched = Watched::with(&one(1));
    for (count, (way, change)) in (2..).zip(ways) {
        change(&watched, &one(count));
        assert_eq!(watched.look(), Outcome::Live { changed: true }, "{way}");
        assert_eq!((watched.live(), watched.told().0), ((count, 1), "live"), "{way}");
        assert_eq!(watched.look(), Outcome::Live { changed: false }, "{way}");
        assert_eq!(watched.generation(), count, "{way}");
    }
}

#[test]
fn the_swap_of_a_config_map_is_one_change() {
    let watched = Watched::over(tempfile::tempdir().unwrap());
    let version = |name: &str, shop: u64, other: u64| {
        fs::create_dir(watched.path(name)).unwrap();
        watched.write(&format!("{name}/shop.yaml"), &one(shop));
        watched.write(&format!("{name}/zoo.yaml"), &one(other).replace("shop", "zoo"));
    };
    version("..1", 1, 1);
    symlink("..1", watched.path("..data")).unwrap();
    for file in ["shop.yaml", "zoo.yaml"] {
        symlink(format!("..data/{file}"), watched.path(file)).unwrap();
    }
    watched.reload.start(NOW);
    for (count, swapped_while_read) in [(2, false), (3, true)] {
        version(&format!("..{count}"), count, count);
        let swap = || {
            symlink(format!("..{count}"), watched.path("..data_tmp")).unwrap();
            fs::rename(watched.path("..data_tmp"), watched.path("..data")).unwrap();
            fs::remove_dir_all(watched.path(&format!("..{}", count - 1))).unwrap();
        };
        if swapped_while_read {
            watched.write(&format!("..{}/shop.yaml", count - 1), &one(99));
            assert_eq!(watched.reload.look_pausing(NOW, &mut || swap()), Outcome::Unsettled);
        } else {
            swap();
        }
        assert_eq!(watched.look(), Outcome::Live { changed: true });
        let generation = watched.live.snapshot().clone().unwrap();
        let counts =
            ["shop", "zoo"].map(|name| generation.rules.domains[name.as_bytes()].rules[0].limits()[0].limit.count);
        assert_eq!((counts, watched.generation()), ([count; 2], count));
    }
}

#[test]
fn where_the_file_system_tells_of_no_change_the_contents_do() {
    let watched = Watched::with(&one(1));
    watched.write("shop.yaml", &one(2));
    // As if size, times and number of the file were what they were.
    watched.reload.seen.lock().fingerprint = Some(Fingerprint::take(&watched.reload.source, &[]));
    let looks = (1..=READ_EVERY_LOOKS).take_while(|_| watched.look() == Outcome::Live { changed: false }).count();
    assert!(looks < READ_EVERY_LOOKS as usize);
    assert_eq!(watched.live(), (2, 1));
}

#[test]
fn what_cannot_be_used_leaves_the_old_rules_and_is_told_once_with_its_place() {
    let ruin: &[(Change, &str)] = &[
        (("emptied", |watched, _| watched.write("shop.yaml", "")), "shop.yaml:1:1: error: the file is empty"),
        (
            ("deleted, the only one", |_, _| {}),
            ":1:1: error: no rule files here (*.yaml or *.yml; setting `rule_files` asks for others)",
        ),
        (
            ("broken", |watched, _| watched.write("shop.yaml", "domain: shop\ndescriptors:\n  - {ky: k}\n")),
            "shop.yaml:3:5: error: the rule has no `key`",
        ),
        (
            ("not text", |watched, _| fs::write(watched.path("shop.yaml"), b"\xff\xfe\x00").unwrap()),
            "shop.yaml:1:1: error: ",
        ),
        (
            ("a directory", |watched, _| fs::create_dir(watched.path("shop.yaml")).unwrap()),
            "shop.yaml:1:1: error: is no regular file",
        ),
        (
            ("a FIFO that nobody writes to", |watched, _| make_fifo(&watched.path("shop.yaml"))),
            "shop.yaml:1:1: error: is no regular file",
        ),
        (
            ("a link to itself", |watched, _| symlink("shop.yaml", watched.path("shop.yaml")).unwrap()),
            "shop.yaml:1:1: error: Too many levels of symbolic links",
        ),
        (
            ("unreadable", |watched, text| {
                watched.write("shop.yaml", text);
                fs::set_permissions(watched.path("shop.yaml"), fs::Permissions::from_mode(0o000)).unwrap();
            }),
            "shop.yaml:1:1: error: Permission denied",
        ),
        (
            ("100 MB", |watched, _| {
                File::create(watched.path("shop.yaml")).unwrap().set_len(100 << 20).unwrap();
            }),
            "shop.yaml:1:1: error: larger than 67108864 bytes",
        ),
        (
            ("a FIFO as a list", |watched, _| {
                make_fifo(&watched.path("keys"));
                watched.write("shop.yaml", "domain: shop\ndescriptors: [{key: k, values_file: keys, deny: true}]\n");
            }),
            "shop.yaml:2:37: error: the file `keys` cannot be read: is no regular file",
        ),
    ];
    let watched = Watched::with(&one(1));
    let mut count = 1;
    for ((what, change), said) in ruin {
        let refused = watched.metric("tallygate_config_reloads_total{result=\"failure\"}");
        // What stands there now goes, whatever it is.
        let _ = fs::remove_file(watched.path("shop.yaml"));
        change(&watched, &one(count + 1));
        // To who may do all, nothing is unreadable.
        if *what == "unreadable" && File::open(watched.path("shop.yaml")).is_ok() {
            continue;
        }
        for _ in 0..=READ_EVERY_LOOKS {
            assert!(matches!(watched.look(), Outcome::Refused(_)), "{what}");
        }
        assert_eq!(watched.live(), (count, 1), "{what}");
        let (word, diagnostic) = watched.told();
        assert!(word == "refused" && diagnostic.contains(said), "{what}: {diagnostic}");
        let told = watched.metric("tallygate_config_reloads_total{result=\"failure\"}") - refused;
        assert_eq!((told, watched.metric("tallygate_config_last_reload_success")), (1, 0), "{what}");

        let _ = fs::remove_dir(watched.path("shop.yaml")).or_else(|_| fs::remove_file(watched.path("shop.yaml")));
        watched.write("shop.yaml", &one(count + 1));
        assert_eq!(watched.look(), Outcome::Live { changed: true }, "{what}");
        assert_eq!(
            (watched.live(), watched.metric("tallygate_config_last_reload_success")),
            ((count + 1, 1), 1),
            "{what}"
        );
        count += 1;
    }
}

#[test]
fn files_that_are_mended_to_what_is_live_change_nothing() {
    let watched = Watched::with(&one(1));
    watched.write("shop.yaml", "domain: [");
    watched.look();
    assert_eq!(watched.told().0, "refused");
    watched.write("shop.yaml", &one(1));
    assert_eq!(watched.look(), Outcome::Live { changed: false });
    assert_eq!((watched.told().0, watched.generation()), ("live", 1));
    assert_eq!(watched.metric("tallygate_config_last_reload_success"), 1);
}

#[test]
fn while_a_file_is_being_written_no_part_of_it_is_live() {
    let (old, new) = (many(20, 1), many(40, 2));
    let watched = Watched::with(&old);
    for cut in 0..new.len() {
        let mut writer = File::create(watched.path("shop.yaml")).unwrap();
        writer.write_all(&new.as_bytes()[..cut]).unwrap();
        let next_byte = &mut || writer.write_all(&new.as_bytes()[cut..=cut]).unwrap();
        assert_eq!(watched.reload.look_pausing(NOW, next_byte), Outcome::Unsettled, "at byte {cut}");
        assert_eq!(watched.live(), (1, 20), "at byte {cut}");
    }
    // The last byte is written.
    assert_eq!((watched.look(), watched.live()), (Outcome::Live { changed: true }, (2, 40)));
}

#[test]
fn of_a_file_that_was_cut_off_and_left_so_at_any_byte_no_part_is_live() {
    let (old, new) = (many(41, 1), many(41, 2));
    let watched = Watched::with(&old);
    for cut in 0..new.len() {
        watched.write("shop.yaml", &new[..cut]);
        watched.look();
        let (count, rules) = watched.live();
        // Whoever takes lines from the end of a file writes the same as who is cut off at the end of a line: less than half.
        let edited = new[..cut].ends_with('\n') && rules >= 21;
        let (whole, nothing_lost) = ((count, rules) == (1, 41), (count, rules) == (2, 41));
        assert!(whole || nothing_lost || edited, "at byte {cut}: {rules} rules are live");
        if !whole {
            watched.write("shop.yaml", &old);
            assert_eq!((watched.look(), watched.live()), (Outcome::Live { changed: true }, (1, 41)));
        }
    }
}

#[test]
fn a_set_that_lost_most_of_its_rules_waits_until_somebody_means_it() {
    let watched = Watched::with(&many(60, 1));
    watched.write("shop.yaml", &many(20, 2));
    for _ in 0..=READ_EVERY_LOOKS {
        assert_eq!(watched.look(), Outcome::Waiting);
    }
    assert_eq!((watched.live(), watched.generation()), ((1, 60), 1));
    let (word, said) = watched.told();
    assert!(
        word == "waiting" && said.contains("of 60 rules only 20 are left; help: SIGHUP or `POST /v1/reload`"),
        "{said}"
    );
    let told = ["config_reloads_total{result=\"waiting\"}", "config_waiting", "config_last_reload_success"];
    let told = |expected: [u32; 3]| {
        assert_eq!(told.map(|name| watched.metric(&format!("tallygate_{name}"))), expected);
    };
    told([1, 1, 0]);

    // Taken back: nothing happened.
    watched.write("shop.yaml", &many(60, 1));
    assert_eq!((watched.look(), watched.generation()), (Outcome::Live { changed: false }, 1));
    told([1, 0, 1]);

    watched.write("shop.yaml", &many(20, 2));
    assert_eq!(watched.look(), Outcome::Waiting);
    assert_eq!(watched.ask(), Outcome::Live { changed: true });
    assert_eq!((watched.live(), watched.told().0), ((2, 20), "live"));
    told([2, 0, 1]);
    assert_eq!((watched.ask(), watched.generation()), (Outcome::Live { changed: false }, 2));
}

#[test]
fn to_remove_some_files_is_a_change_and_to_remove_all_is_none() {
    let watched = Watched::with(&one(1));
    watched.write("zoo.yaml", &many(80, 1).replace("shop", "zoo"));
    assert_eq!(watched.look(), Outcome::Live { changed: true });
    fs::remove_file(watched.path("zoo.yaml")).unwrap();
    assert_eq!(watched.look(), Outcome::Live { changed: true });
    assert_eq!(watched.live.snapshot().as_ref().unwrap().rules.domains.len(), 1);
    fs::remove_file(watched.path("shop.yaml")).unwrap();
    assert!(matches!(watched.look(), Outcome::Refused(_)));
    assert!(matches!(watched.ask(), Outcome::Refused(_)), "not even if it is asked for");
    assert_eq!(watched.live(), (1, 1));
    fs::remove_dir_all(watched.dir.path()).unwrap();
    assert!(matches!(watched.look(), Outcome::Refused(_)));
    assert_eq!(watched.live(), (1, 1));
}

#[test]
fn who_asks_waits_for_a_writer_and_not_for_ever() {
    let watched = Watched::with(&one(1));
    watched.write("shop.yaml", "domain: shop\n");
    let mut lines = one(2).lines().map(|line| format!("{line}\n")).collect::<Vec<_>>().into_iter().skip(1);
    let mut write_on = || {
        if let Some(line) = lines.next() {
            File::options().append(true).open(watched.path("shop.yaml")).unwrap().write_all(line.as_bytes()).unwrap();
        }
    };
    assert_eq!(watched.reload.reload_pausing(NOW, &mut write_on), Outcome::Live { changed: true });
    assert_eq!(watched.live(), (2, 1));

    watched.write("shop.yaml", &one(3));
    let mut count = 3;
    let mut never_still = || {
        count += 1;
        watched.write("shop.yaml", &one(count));
    };
    assert_eq!(watched.reload.reload_pausing(NOW, &mut never_still), Outcome::Unsettled);
    assert_eq!(watched.live(), (2, 1));
}

#[test]
fn a_thousand_reloads_leave_nothing_behind_and_are_never_seen_half() {
    let watched = Watched::with(&many(10, 1));
    let (stop, mut sets): (_, Vec<Weak<RuleSet>>) = (AtomicBool::new(false), Vec::new());
    thread::scope(|scope| {
        scope.spawn(|| {
            while !stop.load(Relaxed) {
                let generation = watched.live.snapshot();
                let generation = generation.as_ref().unwrap();
                let rules = &generation.rules.domains["shop".as_bytes()].rules;
                assert_eq!(rules.len(), 10);
                assert!(rules.iter().all(|rule| rule.limits()[0].limit.count == generation.number));
            }
        });
        for count in 2..=1_001 {
            watched.write("shop.yaml", &many(10, count));
            assert_eq!(watched.look(), Outcome::Live { changed: true }, "{count}");
            sets.push(Arc::downgrade(&watched.live.snapshot().as_ref().unwrap().set));
        }
        stop.store(true, Relaxed);
    });
    assert_eq!(watched.generation(), 1_001);
    // That which is live, the one before, and one that was being looked at.
    let alive = sets.iter().filter(|set| set.strong_count() > 0).count();
    assert!(alive <= 3, "{alive} sets are alive");
    let series = watched.telemetry.render().lines().filter(|line| line.contains("config_info{")).count();
    assert_eq!(series, 1);
}

fn make_fifo(path: &Path) {
    let path = CString::new(path.as_os_str().as_bytes()).unwrap();
    rustix::fs::mknodat(rustix::fs::CWD, path, rustix::fs::FileType::Fifo, rustix::fs::Mode::RWXU, 0).unwrap();
}
