use proptest::prelude::*;

use super::*;

fn int(number: i64) -> Value {
    Value::Int(number)
}

fn text(text: &str) -> Value {
    Value::BulkString(text.as_bytes().to_vec())
}

fn master(host: &str, port: i64) -> Value {
    Value::Array(vec![text(host), int(port), text("id"), Value::Array(Vec::new())])
}

fn range(first: i64, last: i64, master: Value) -> Value {
    Value::Array(vec![int(first), int(last), master])
}

fn answer(ranges: impl IntoIterator<Item = Value>) -> Value {
    Value::Array(ranges.into_iter().collect())
}

fn at(host: &str, port: u16) -> Server {
    Server { host: host.into(), port }
}

/// Who has a slot.
fn owner(map: &SlotMap, slot: u16) -> Option<&Server> {
    map.master_of(Slot(slot)).map(|place| &map.masters()[place])
}

#[test]
fn a_keys_slot_is_that_of_what_stands_in_its_first_braces() {
    // By `CLUSTER KEYSLOT` of a Redis 7.0.
    for (key, slot) in [
        ("", 0),
        ("123456789", 12_739),
        ("shop", 3_808),
        ("tallygate:{shop}:0", 3_808),
        ("{}shop", 13_346),
        ("{{shop}}", 16_281),
        ("{shop", 16_281),
        ("a{shop}{other}", 3_808),
    ] {
        assert_eq!(Slot::of(key.as_bytes()), Slot(slot), "{key}");
    }
}

#[test]
fn each_slot_is_its_masters() {
    let replica = master("10.0.0.9", 6_379);
    let third = Value::Array(vec![int(10), int(16_383), master("b", 2), replica]);
    let told = answer([range(0, 4, master("a", 1)), range(6, 9, master("a", 1)), third]);
    let map = SlotMap::read(&told, "seed").unwrap();
    assert_eq!(map.masters(), [at("a", 1), at("b", 2)]);
    for (slot, expected) in
        [(0, Some(at("a", 1))), (4, Some(at("a", 1))), (5, None), (9, Some(at("a", 1))), (16_383, Some(at("b", 2)))]
    {
        assert_eq!(owner(&map, slot), expected.as_ref(), "{slot}");
    }
    assert!(map.has_holes());
    assert!(!SlotMap::read(&answer([range(0, 16_383, master("a", 1))]), "seed").unwrap().has_holes());
}

#[test]
fn a_master_without_a_host_is_where_the_answer_came_from() {
    let nowhere = Value::Array(vec![Value::Nil, int(7)]);
    let told = answer([range(0, 1, nowhere), range(2, 3, master("", 8)), range(4, 5, master("::1", 9))]);
    let map = SlotMap::read(&told, "10.0.0.1").unwrap();
    assert_eq!(map.masters(), [at("10.0.0.1", 7), at("10.0.0.1", 8), at("::1", 9)]);
}

#[test]
fn a_master_whom_nobody_knows_how_to_reach_has_no_slots() {
    let told = answer([range(0, 1, master("?", 7)), range(2, 3, master("a", 0)), range(4, 4, master("a", 1))]);
    let map = SlotMap::read(&told, "seed").unwrap();
    assert_eq!(map.masters(), [at("a", 1)]);
    assert_eq!(owner(&map, 0), None);
}

#[test]
fn what_is_no_map_is_none() {
    let long = "a".repeat(REDIS_HOST_MAX_BYTES + 1);
    let many = (0..).take(REDIS_SERVERS_MAX + 1).map(|nth| range(nth, nth, master("a", nth + 1)));
    for (what, told) in [
        ("a word", text("OK")),
        ("nobody has a slot", answer([])),
        ("a range is no list", answer([int(0)])),
        ("no master", answer([Value::Array(vec![int(0), int(1)])])),
        ("a master is no list", answer([range(0, 1, text("a"))])),
        ("a master without a port", answer([range(0, 1, Value::Array(vec![text("a")]))])),
        ("a port is text", answer([range(0, 1, Value::Array(vec![text("a"), text("1")]))])),
        ("a port too large", answer([range(0, 1, master("a", 65_536))])),
        ("a port below zero", answer([range(0, 1, master("a", -1))])),
        ("a host that is a number", answer([range(0, 1, Value::Array(vec![int(1), int(1)]))])),
        ("a host of two lines", answer([range(0, 1, master("a\nb", 1))])),
        ("a long host", answer([range(0, 1, master(&long, 1))])),
        ("a slot below zero", answer([range(-1, 1, master("a", 1))])),
        ("a slot too large", answer([range(0, 16_384, master("a", 1))])),
        ("the last before the first", answer([range(2, 1, master("a", 1))])),
        ("from the largest number there is", answer([range(i64::MAX, i64::MAX, master("a", 1))])),
        ("a slot twice", answer([range(0, 2, master("a", 1)), range(2, 3, master("b", 1))])),
        ("too many masters", answer(many)),
    ] {
        assert_eq!(SlotMap::read(&told, "seed"), None, "{what}");
    }
}

fn any_value() -> impl Strategy<Value = Value> {
    let number = prop_oneof![-2..20_i64, 16_380..16_390_i64, 65_530..65_540_i64, any::<i64>()];
    let leaf = prop_oneof![
        4 => number.prop_map(Value::Int),
        2 => "[ab?:{}\n]{0,3}".prop_map(|host| text(&host)),
        1 => prop::collection::vec(any::<u8>(), 0..4).prop_map(Value::BulkString),
        1 => Just(Value::Nil),
    ];
    leaf.prop_recursive(3, 64, 5, |inner| prop::collection::vec(inner, 0..5).prop_map(Value::Array))
}

proptest! {
    #[test]
    fn whatever_is_answered_is_read_without_harm(told in any_value()) {
        if let Some(map) = SlotMap::read(&told, "seed") {
            prop_assert!((0..SLOTS).all(|slot| owner(&map, slot).is_none_or(|server| server.port > 0)));
        }
    }

    #[test]
    fn what_masters_say_of_themselves_is_understood(edges in prop::collection::btree_set(0..=i64::from(SLOTS), 2..40), masters in 1..9_u16) {
        let edges: Vec<i64> = edges.into_iter().collect();
        let of = |nth: usize| u16::try_from(nth).unwrap() % masters + 1;
        let told = edges.windows(2).enumerate().map(|(nth, edge)| range(edge[0], edge[1] - 1, master("h", of(nth).into())));
        let map = SlotMap::read(&answer(told), "seed").unwrap();
        for slot in 0..SLOTS {
            let nth = edges.windows(2).position(|edge| (edge[0]..edge[1]).contains(&slot.into()));
            prop_assert_eq!(owner(&map, slot).map(|server| server.port), nth.map(of));
        }
    }
}
