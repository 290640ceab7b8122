//! Environments as batch systems make them, and the hosts that they mean.

use super::*;
use std::collections::HashMap;

fn allocation(variables: &[(&str, &str)], files: &[(&str, &str)]) -> Result<Option<Given>, String> {
    let variables: HashMap<&str, &str> = variables.iter().copied().collect();
    let files: HashMap<&str, &str> = files.iter().copied().collect();
    let around = Surroundings {
        variable: &|name| variables.get(name).map(|value| (*value).to_owned()),
        read: &|path| {
            let text = path.to_str().and_then(|path| files.get(path));
            let text = text.ok_or(io::ErrorKind::NotFound)?;
            Ok(text.as_bytes().to_vec())
        },
    };
    around.allocation()
}

fn slots(variables: &[(&str, &str)], files: &[(&str, &str)]) -> Vec<(String, u32)> {
    let given = allocation(variables, files).expect("understood");
    let (hosts, _) = given.expect("an allocation");
    hosts
        .into_iter()
        .map(|host| (host.name, host.slots))
        .collect()
}

fn expected() -> Vec<(String, u32)> {
    [("node1", 2), ("node2", 1), ("node3", 1)]
        .map(|(name, slots)| (name.to_owned(), slots))
        .to_vec()
}

#[test]
fn every_batch_system_is_understood() {
    let slurm = [
        ("SLURM_JOB_ID", "7"),
        ("SLURM_JOB_NODELIST", "node[1-3]"),
        ("SLURM_TASKS_PER_NODE", "2,1(x2)"),
    ];
    assert_eq!(slots(&slurm, &[]), expected());
    let lsf = [
        ("LSB_JOBID", "7"),
        ("LSB_MCPU_HOSTS", "node1 2 node2 1 node3 1"),
    ];
    assert_eq!(slots(&lsf, &[]), expected());
    let lsf = [("LSB_JOBID", "7"), ("LSB_HOSTS", "node1 node1 node2 node3")];
    assert_eq!(slots(&lsf, &[]), expected());
    let pbs = [("PBS_JOBID", "7"), ("PBS_NODEFILE", "/f")];
    assert_eq!(
        slots(&pbs, &[("/f", "node1\nnode1\nnode2\nnode3\n")]),
        expected()
    );
    let sge =
        "node1 2 all.q@node1 UNDEFINED\nnode2 1 all.q@node2 <NULL>\nnode3 1 all.q@node3 0,0:0,1\n";
    assert_eq!(slots(&[("PE_HOSTFILE", "/f")], &[("/f", sge)]), expected());
    for name in [
        "HYDRA_HOST_FILE",
        "I_MPI_HYDRA_HOST_FILE",
        "OMPI_MCA_orte_default_hostfile",
    ] {
        assert_eq!(
            slots(&[(name, "/f")], &[("/f", "node1:2\nnode2\nnode3 slots=1")]),
            expected()
        );
    }
    let pod = [("KUBERNETES_SERVICE_HOST", "10.0.0.1")];
    let file = "pi-worker-0.pi.ns.svc slots=2\npi-worker-1.pi.ns.svc:2\n";
    let full = |at| (format!("pi-worker-{at}.pi.ns.svc"), 2);
    assert_eq!(
        slots(&pod, &[("/etc/mpi/hostfile", file)]),
        [full(0), full(1)]
    );
}

#[test]
fn without_an_allocation_there_is_none() {
    assert_eq!(allocation(&[], &[("/etc/mpi/hostfile", "a")]), Ok(None));
    let left_over = [
        ("PBS_NODEFILE", "/f"),
        ("LSB_HOSTS", "a"),
        ("SLURM_JOB_NODELIST", "a"),
    ];
    assert_eq!(allocation(&left_over, &[]), Ok(None));
    assert_eq!(
        allocation(&[("KUBERNETES_SERVICE_HOST", "10.0.0.1")], &[]),
        Ok(None)
    );
}

#[test]
fn what_is_wrong_is_named() {
    let id = ("SLURM_JOB_ID", "7");
    for (variables, needles) in [
        (
            &[id, ("SLURM_JOB_NODELIST", "n[3-1]")][..],
            &["SLURM_JOB_NODELIST, column 3", "range"][..],
        ),
        (
            &[
                id,
                ("SLURM_JOB_NODELIST", "n[1-2]"),
                ("SLURM_TASKS_PER_NODE", "2(x3)"),
            ],
            &["speaks of 3 hosts", "names 2", "--host"],
        ),
        (
            &[("PE_HOSTFILE", "/gone")],
            &["PE_HOSTFILE=/gone", "cannot read"],
        ),
        (&[("PE_HOSTFILE", "/f")], &["/f:2:7", "`slots=`"]),
    ] {
        let error = allocation(variables, &[("/f", "a\nnode1 !x")]).expect_err("wrong");
        for needle in needles {
            assert!(error.contains(needle), "{error}: no {needle}");
        }
    }
}
