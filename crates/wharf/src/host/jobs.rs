//! Strands and jobs, as handles of ports and pools offer them.

/// The methods of ports and pools that take user code to their workers.
macro_rules! crew_jobs {
    () => {
        /// A strand around this value: a serial mailbox whose jobs run here. It may be made and
        /// posted to before the start; jobs wait for it then. In the highest lane.
        pub fn strand<T: Send + 'static>(&self, value: T) -> crate::strand::Strand<T> {
            crate::strand::make_default(&self.shared.core, 0, value)
        }

        /// The same with a name, a lane and limits.
        ///
        /// # Errors
        /// A lane that there is not, a limit of zero.
        pub fn strand_with<T: Send + 'static>(
            &self,
            value: T,
            options: crate::strand::StrandOptions,
        ) -> Result<crate::strand::Strand<T>> {
            crate::strand::make(&self.shared.core, 0, value, options)
        }

        /// Runs `job` once on any worker, in the highest lane. From any thread; never blocks. Jobs
        /// run side by side: those that need an order go to a strand. A panic is contained and
        /// counted.
        ///
        /// # Errors
        /// `Full` when `jobs_max` jobs wait; `Closed` when the host has stopped, or is stopping,
        /// has no session left, and this thread is no worker.
        pub fn post(
            &self,
            job: impl FnOnce() + Send + 'static,
        ) -> Result<(), crate::error::SendError> {
            crate::job::post(&self.shared.core, 0, job)
        }

        /// The same in the lane with this name.
        ///
        /// # Errors
        /// A lane that there is not; and as `post`.
        pub fn post_in(&self, lane: &str, job: impl FnOnce() + Send + 'static) -> Result<()> {
            crate::job::post_in(&self.shared.core, lane, job)
        }

        /// Runs `job` once this time has passed. It counts among the jobs that wait until then.
        ///
        /// # Errors
        /// As `post`.
        pub fn post_after(
            &self,
            after: Duration,
            job: impl FnOnce() + Send + 'static,
        ) -> Result<crate::strand::timer::Timer, crate::error::SendError> {
            crate::job::post_after(&self.shared.core, 0, after, job)
        }

        /// Runs `job` at a fixed rate until it is cancelled or panics: tick n is due n periods
        /// after this call. Its runs never overlap. Dropping the timer does not end it.
        ///
        /// # Errors
        /// A period of zero; a host that has stopped.
        pub fn every(
            &self,
            period: Duration,
            job: impl FnMut(&crate::strand::tick::Tick) + Send + 'static,
        ) -> Result<crate::strand::timer::Timer> {
            crate::job::every(&self.shared.core, 0, period, job)
        }

        /// Where strands and jobs run in the lane with this name: for code that is told its place
        /// and makes its own strands there.
        ///
        /// # Errors
        /// A lane that there is not.
        pub fn work(&self, lane: &str) -> Result<crate::host::Work> {
            let lane = crate::strand::lane_of(&self.shared.core, "work", lane)?;
            Ok(crate::host::Work::new(Arc::clone(&self.shared), lane))
        }

        /// What its plain jobs have come to; strands and timers have counters of their own.
        #[must_use]
        pub fn jobs(&self) -> crate::port::JobStats {
            self.shared.core.jobs.stats()
        }
    };
}
pub(super) use crew_jobs;
