//! `plan --workers`: what lookups on many machines would give.

use super::*;

#[test]
fn more_workers_leave_what_stays_with_the_server() {
    let files = Files::new().with_block("");
    let times = ["--pbs-ms", "1.5,2.5,3.5", "--own-ms", "0.5,0.1,0.01,0.1,0.01,0.01,0.1", "--message-ms", "0.04,0.01"];
    let plan = |arguments: &[&str]| {
        json(files.on_block("plan", "states", "input").args(times).args(["--server-cores", "2"]).args(arguments))
    };
    let far = plan(&["--workers", "1,4,1000", "--latency", "20ms", "--bandwidth", "100Mbit"]);
    let scaled = far["scale"]["workers"].as_array().unwrap();
    let of = |scaled: &Value, key: &str| scaled[key].as_f64().unwrap();
    assert_eq!(far["scale"]["rotations"], far["pbs"]);
    // Times of bootstrappings have the key switch of their argument, of multipliers one for all of their levels, which the server does.
    let by_gadget = far["scale"]["rotation_ms"].as_array().unwrap();
    let by_gadget: Vec<f64> = by_gadget.iter().map(|ms| ms.as_f64().unwrap()).collect();
    assert!((by_gadget[0] - 1.0).abs() < 1e-9 && (by_gadget[1] - 2.0).abs() < 1e-9 && by_gadget[2] > 3.3);
    let counts = far["pbs_by_gadget"].as_object().unwrap().iter();
    let counts = counts.map(|(gadget, count)| (gadget.parse::<usize>().unwrap(), count.as_f64().unwrap()));
    let all: f64 = counts.map(|(gadget, count)| count * by_gadget[gadget] / 1000.0).sum();
    assert!((of(&scaled[0], "rotations_seconds") - all).abs() < 1e-9, "{all} {}", scaled[0]);
    for scaled in scaled {
        let parts = ["rotations_seconds", "server_seconds", "network_seconds"].map(|key| of(scaled, key));
        let [formula, simulated] = [of(scaled, "seconds"), of(scaled, "simulated_seconds")];
        assert!((parts.iter().sum::<f64>() - formula).abs() < 1e-9, "{scaled}");
        assert!(parts.iter().all(|&part| part > 0.0 && part < simulated), "{scaled}");
        assert!((0.97..1.05).contains(&(simulated / formula)), "{scaled}");
        // Not fewer bytes than exponents out, and masks of 2,048 back of at least 16 bits.
        let rotations = of(&far["scale"], "rotations");
        assert!(of(scaled, "bytes_out") > 1345.0 * rotations && of(scaled, "bytes_back") > 4096.0 * rotations);
    }
    let seconds = |key| [0, 1, 2].map(|index| of(&scaled[index], key));
    assert!(seconds("rotations_seconds").is_sorted_by(|a, b| a > b), "{scaled:?}");
    assert_eq!(scaled[2]["limit"], "network");
    assert_eq!(seconds("server_seconds"), [of(&scaled[0], "server_seconds"); 3]);
    let near = plan(&["--workers", "1000", "--latency", "0us", "--bandwidth", "1000000Gbit"]);
    let near = &near["scale"]["workers"][0];
    assert_ne!(near["limit"], "network");
    // What is left are messages that are written and read.
    assert!(of(near, "network_seconds") < 0.02 * of(&scaled[2], "network_seconds"), "{near} {}", scaled[2]);
    let helped = plan(&["--workers", "1", "--own-lookups", "--latency", "0us", "--bandwidth", "1000000Gbit"]);
    assert!(of(&helped["scale"]["workers"][0], "rotations_seconds") < 0.6 * all, "{helped}");

    let text = success(files.on_block("plan", "states", "input").args(times).args(["--workers", "3"]));
    assert!(text.contains("Lookups by workers") && text.contains("simulated"), "{text}");
    let refused = |arguments: &[&str]| {
        let mut command = files.on_block("plan", "states", "input");
        command.args(arguments);
        command
    };
    assert_error_of(2, &mut refused(&["--workers", "4"]), "--workers needs times of all operations");
    assert_error_of(2, &mut refused(&["--workers", "4", "--pbs-ms", "1,1,1"]), "--workers needs times");
    assert_error_of(
        2,
        &mut refused(&["--workers", "4", "--pbs-ms", "1,1,1", "--own-ms", "1,1,1,1,1,1,1"]),
        "--message-ms",
    );
    let wrong = |arguments: &[&str]| refused(&[&times[..], arguments].concat());
    assert_error(&mut wrong(&["--workers", "0"]), "has 0; 1 to 65536");
    assert_error(&mut wrong(&["--workers", "1", "--batch", "0"]), "--batch and --together are at least 1");
    assert_error(&mut wrong(&["--workers", "1", "--record", "states"]), "cannot use --record states");
    for option in
        [&["--workers", "1", "--bandwidth", "10"][..], &["--workers", "1", "--latency=-1ms"], &["--latency", "1ms"]]
    {
        assert_eq!(output(&mut wrong(option)).status.code(), Some(2), "{option:?}");
    }
    assert_error(&mut refused(&["--pbs-ms", "1,1,1", "--own-ms", "1,2"]), "--own-ms needs 7 numbers");
    assert_error(&mut refused(&["--pbs-ms", "1,1,1", "--message-ms", "1"]), "--message-ms needs 2 numbers");
    assert_error(&mut refused(&["--pbs-ms", "1,1,1", "--message-ms", "1,NaN"]), "--message-ms needs 2 numbers");
}
