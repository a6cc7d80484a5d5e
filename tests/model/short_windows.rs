//! Windows that end all the time, by the clock of a real server: each admits exactly its limit, whichever way the script
//! went, and a refusal is true to the end of its window and no longer.

use tallygate::{
    charge::{Charge, Charges, CounterKey, Role},
    limit::{Algorithm, Limit, Wait, Window},
    request::Ask,
    store::redis::Time,
    units::Nanos,
};

use crate::on_redis::{OnRedis, real_time};

const LENGTH: Nanos = Nanos::from_millis(20);
const COUNT: u64 = 5;
/// Windows that are seen to refuse.
const WINDOWS: usize = 100;
/// So many calls suffice, some fifty in a window.
const CALLS_MAX: usize = 200_000;

/// Asks for one hit, call after call; `beside` says at which calls another counter is looked at, too.
///
/// Once a window has refused, it admits nobody any more. So what passes between the last refusal of one window and the
/// first of the next was admitted by the next.
fn each_window_admits_its_limit(what: &str, beside: impl Fn(usize) -> bool) {
    let redis = OnRedis::start_by(Time::Servers);
    let limit = Limit { count: COUNT, window: Window::Length(LENGTH), algorithm: Algorithm::FixedWindow };
    let charge = |key, ask| {
        let (key, role) = (CounterKey(key), Role::Enforced);
        Charge { key, limit: &limit, ask, role, descriptor: 0, group: 0 }
    };
    let (mut passed, mut refused_until, mut windows) = (0, None, 0);
    for call in 0..CALLS_MAX {
        let other = beside(call).then(|| charge(2, Ask::Look));
        let list = [charge(1, Ask::Take(1))].into_iter().chain(other).collect();
        let decided = redis.decide(real_time(), &Charges { list, ..Charges::default() });
        if !decided.verdicts.refused {
            passed += 1;
            continue;
        }
        let Wait::For(wait) = decided.verdicts.list[0].wait else { panic!("{:?}", decided.verdicts) };
        let until = decided.at.plus(wait);
        assert_eq!(until.0 % LENGTH.0, 0, "{what}: {until:?} is no edge");
        if let Some(before) = refused_until.replace(until) {
            assert!(until >= before, "{what}: {until:?} after {before:?}");
            match until.since(before).0 / LENGTH.0 {
                0 => assert_eq!(passed, 0, "{what}: admitted by a window that had refused"),
                1 => assert_eq!(passed, COUNT, "{what}: admitted by the window until {until:?}"),
                // The machine had no time for some of them.
                more => assert!((COUNT..=COUNT * more).contains(&passed), "{what}: {passed} in {more} windows"),
            }
            windows += usize::from(until > before);
        }
        passed = 0;
        if windows == WINDOWS {
            return;
        }
    }
    panic!("{what}: only {windows} windows have refused");
}

#[test]
fn each_window_admits_its_limit_whichever_way_the_script_goes() {
    each_window_admits_its_limit("usual", |_| false);
    each_window_admits_its_limit("at length", |_| true);
    each_window_admits_its_limit("by turns", |call| call % 3 == 0);
}
