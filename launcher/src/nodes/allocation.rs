//! The hosts that a batch system or an operator has given us, by what it puts into the environment.

use std::io;
use std::path::Path;

use super::syntax::{Host, hostfile, lsf, merged, slurm};

/// What is around us: variables and files. Tests bring their own.
pub(crate) struct Surroundings<'a> {
    pub(crate) variable: &'a dyn Fn(&str) -> Option<String>,
    pub(crate) read: &'a dyn Fn(&Path) -> io::Result<Vec<u8>>,
}

/// Hosts, and who gave them.
pub(crate) type Given = (Vec<Host>, String);

/// Variables that name a hostfile, and what must be set for the variable to be meant.
const FILES: [(&str, Option<&str>); 6] = [
    ("PBS_NODEFILE", Some("PBS_JOBID")),
    ("PE_HOSTFILE", None),
    ("HYDRA_HOST_FILE", None),
    ("I_MPI_HYDRA_HOST_FILE", None),
    ("OMPI_MCA_orte_default_hostfile", None),
    ("PRTE_MCA_prte_default_hostfile", None),
];

/// Where the MPI Operator of Kubernetes puts the names of its workers.
const OPERATOR_FILE: &str = "/etc/mpi/hostfile";

impl Surroundings<'_> {
    fn get(&self, name: &str) -> Option<String> {
        (self.variable)(name).filter(|value| !value.trim().is_empty())
    }

    /// The hosts of the allocation that we are in, if we are.
    ///
    /// # Errors
    ///
    /// One line, when there is an allocation that cannot be understood.
    pub(crate) fn allocation(&self) -> Result<Option<Given>, String> {
        if let Some(given) = self.slurm()? {
            return Ok(Some(given));
        }
        if let Some(given) = self.lsf()? {
            return Ok(Some(given));
        }
        for (name, needs) in FILES {
            if needs.is_some_and(|needs| self.get(needs).is_none()) {
                continue;
            }
            if let Some(file) = self.get(name) {
                let source = format!("{name}={file}");
                return self.file(&file, &source).map(Some);
            }
        }
        if self.get("KUBERNETES_SERVICE_HOST").is_some() {
            match (self.read)(Path::new(OPERATOR_FILE)) {
                Err(error) if error.kind() == io::ErrorKind::NotFound => {}
                _ => return self.file(OPERATOR_FILE, OPERATOR_FILE).map(Some),
            }
        }
        Ok(None)
    }

    fn slurm(&self) -> Result<Option<Given>, String> {
        let list = "SLURM_JOB_NODELIST";
        let value = self.get(list).or_else(|| self.get("SLURM_NODELIST"));
        let (Some(id), Some(value)) = (self.get("SLURM_JOB_ID"), value) else {
            return Ok(None);
        };
        let names = slurm::nodes(&value).map_err(|mistake| mistake.in_value(list, &value))?;
        let per_node = "SLURM_TASKS_PER_NODE";
        let tasks = match self.get(per_node) {
            None => vec![1; names.len()],
            Some(value) => {
                let tasks =
                    slurm::tasks(&value).map_err(|mistake| mistake.in_value(per_node, &value))?;
                if tasks.len() != names.len() {
                    return Err(format!(
                        "{per_node}=`{value}` speaks of {} hosts, but {list} names {}; \
                         say with --host which hosts to use",
                        tasks.len(),
                        names.len()
                    ));
                }
                tasks
            }
        };
        let hosts = names.into_iter().zip(tasks);
        let hosts = merged(hosts.map(|(name, tasks)| Host::new(name, tasks)));
        Ok(Some((hosts, format!("job {id} of Slurm"))))
    }

    fn lsf(&self) -> Result<Option<Given>, String> {
        let Some(id) = self.get("LSB_JOBID") else {
            return Ok(None);
        };
        let by = format!("job {id} of LSF");
        let name = "LSB_MCPU_HOSTS";
        if let Some(value) = self.get(name) {
            let hosts = lsf::counted(&value).map_err(|mistake| mistake.in_value(name, &value))?;
            return Ok(Some((hosts, by)));
        }
        let name = "LSB_HOSTS";
        let Some(value) = self.get(name) else {
            return Ok(None);
        };
        let hosts = lsf::repeated(&value).map_err(|mistake| mistake.in_value(name, &value))?;
        Ok(Some((hosts, by)))
    }

    /// The hosts of a file that somebody has named.
    ///
    /// # Errors
    ///
    /// One line, when it cannot be read or understood.
    pub(crate) fn file(&self, file: &str, source: &str) -> Result<Given, String> {
        let bytes = (self.read)(Path::new(file))
            .map_err(|error| format!("{source}: cannot read the hostfile: {error}"))?;
        if bytes.len() > hostfile::FILE_BYTES_MAX {
            return Err(format!("{source}: this is too long for a hostfile"));
        }
        let hosts = hostfile::parse(&bytes).map_err(|mistake| mistake.in_file(file))?;
        Ok((hosts, source.to_owned()))
    }
}

#[cfg(test)]
mod tests;
