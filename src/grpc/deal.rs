//! Which core a new connection goes to, and which one should give a connection away. Pure.
//!
//! An Envoy keeps one connection a worker open for hours, and they differ in load a hundredfold: counting connections
//! would leave one core busy and one idle. So the measure is the work of the last seconds.

/// How busy a core is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Load {
    /// Share of the last second or two that it worked, in percent.
    pub busy_percent: u32,
    /// Connections dealt to it so lately that their work does not show yet.
    pub young: u32,
    /// Connections that have asked for a decision at least once. Those of health checks have not: they are no load.
    pub working: u32,
}

/// What a young connection is reckoned as, in percent of a core: ten that come together are spread as if each brought
/// a tenth of a core, which the next second corrects.
const YOUNG_PERCENT: u32 = 10;

/// Differences in work below this are noise, in percent: the number of connections then decides.
const NOISE_PERCENT: u32 = 10;

/// The place of the core with the least work, on a tie the one with the fewest connections, then the first.
pub(super) fn deal(loads: impl IntoIterator<Item = Load>) -> Option<usize> {
    let burden = |load: Load| {
        let work = load.busy_percent / NOISE_PERCENT * NOISE_PERCENT;
        let young = load.young.saturating_mul(YOUNG_PERCENT);
        (work.saturating_add(young), load.working.saturating_add(load.young))
    };
    loads.into_iter().enumerate().min_by_key(|(_, load)| burden(*load)).map(|(place, _)| place)
}

/// A core that works less than this has no need to give anything away, in percent.
const BURDENED_PERCENT: u32 = 60;

/// How much busier than the idlest a core is that should give a connection away, in percent of a core: closing one
/// costs its Envoy a reconnect, so that the gain must be plain.
const FAR_PERCENT: u32 = 40;

/// The place of the busiest core, where one of its connections is better off elsewhere: it is far busier than the
/// idlest core and has several that work. A single one would only carry its work from core to core.
pub(super) fn overburdened(loads: &[Load]) -> Option<usize> {
    let idlest = loads.iter().map(|load| load.busy_percent).min()?;
    let (place, busiest) = loads.iter().enumerate().max_by_key(|(_, load)| load.busy_percent)?;
    // What was dealt lately has not shown its work yet.
    let settled = loads.iter().all(|load| load.young == 0);
    let far = busiest.busy_percent >= BURDENED_PERCENT && busiest.busy_percent - idlest >= FAR_PERCENT;
    (settled && far && busiest.working >= 2).then_some(place)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_connection_goes_where_the_least_work_is() {
        // (busy, young, working) a core, and the place dealt to
        for (cores, place, why) in [
            (&[(0, 0, 0), (0, 0, 0)][..], 0, "the first of equals"),
            (&[(0, 1, 0), (0, 0, 0)], 1, "a second one goes to the other core"),
            (&[(80, 0, 1), (20, 0, 5)], 1, "work counts, not connections"),
            (&[(3, 0, 2), (8, 0, 1)], 1, "below the noise the fewest connections decide"),
            (&[(45, 0, 1), (5, 3, 0)], 1, "a few young ones do not outweigh a busy core"),
            (&[(45, 0, 1), (5, 5, 0)], 0, "many do"),
            (&[(100, 0, 9), (100, 0, 8)], 1, "all busy: the fewest connections"),
            (&[(u32::MAX, u32::MAX, u32::MAX), (100, 0, 0)], 1, "absurd figures do not overflow"),
        ] {
            let loads = cores.iter().map(|&(busy_percent, young, working)| Load { busy_percent, young, working });
            assert_eq!(deal(loads), Some(place), "{why}: {cores:?}");
        }
        assert_eq!(deal([]), None);
    }

    #[test]
    fn a_core_gives_a_connection_away_where_that_is_a_plain_gain() {
        for (cores, place, why) in [
            (&[(90, 0, 3), (10, 0, 1)][..], Some(0), "far busier"),
            (&[(10, 0, 1), (60, 0, 2), (30, 0, 1)], Some(1), "the busiest, against the idlest"),
            (&[(90, 0, 1), (10, 0, 1)], None, "a single connection"),
            (&[(90, 0, 3), (60, 0, 1)], None, "both are busy"),
            (&[(50, 0, 3), (0, 0, 0)], None, "nobody is in need"),
            (&[(90, 0, 3), (10, 1, 0)], None, "a connection has just been dealt"),
            (&[(100, 0, 9)], None, "there is only one core"),
            (&[], None, "there is none"),
        ] {
            let loads = cores.iter().map(|&(busy_percent, young, working)| Load { busy_percent, young, working });
            assert_eq!(overburdened(&loads.collect::<Vec<_>>()), place, "{why}: {cores:?}");
        }
    }

    #[test]
    fn a_burst_onto_idle_cores_is_spread_evenly() {
        let mut cores = [Load::default(); 4];
        for _ in 0..100 {
            let place = deal(cores).unwrap();
            cores[place].young += 1;
        }
        assert!(cores.iter().all(|core| core.young == 25), "{cores:?}");
    }
}
