//! Strands and jobs, as handles of ports and pools offer them.

/// The methods of all handles that take user code to workers. Their `place` says where: whose
/// workers, and the lane.
macro_rules! job_methods {
    ($lane:literal) => {
        #[doc = concat!("A strand around this value, in ", $lane, ": a serial mailbox whose jobs")]
        /// run here. It may be made and posted to before the start; jobs wait for it then.
        pub fn strand<T: Send + 'static>(&self, value: T) -> crate::strand::Strand<T> {
            let (core, lane) = self.place();
            crate::strand::make_default(core, lane, value)
        }

        /// The same with a name and limits, and in the lane that the options name, if they do.
        ///
        /// # Errors
        /// A lane that there is not, a limit of zero.
        pub fn strand_with<T: Send + 'static>(
            &self,
            value: T,
            options: crate::strand::StrandOptions,
        ) -> Result<crate::strand::Strand<T>> {
            let (core, lane) = self.place();
            crate::strand::make(core, lane, value, options)
        }

        #[doc = concat!("Runs `job` once on any worker, in ", $lane, ". From any thread; never")]
        /// blocks. Jobs run side by side: those that need an order go to a strand. A panic is
        /// contained and counted.
        ///
        /// # Errors
        /// `Full` when `jobs_max` jobs wait; `Closed` when the host has stopped, or is stopping,
        /// has no session left, and this thread is no worker.
        pub fn post(
            &self,
            job: impl FnOnce() + Send + 'static,
        ) -> Result<(), crate::error::SendError> {
            let (core, lane) = self.place();
            crate::job::post(core, lane, job)
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
            let (core, lane) = self.place();
            crate::job::post_after(core, lane, after, job)
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
            let (core, lane) = self.place();
            crate::job::every(core, lane, period, job)
        }
    };
}
pub(super) use job_methods;

/// Those of ports and pools, which have all their lanes besides.
macro_rules! crew_jobs {
    () => {
        crate::host::jobs::job_methods!("the highest lane");

        fn place(&self) -> (&Arc<PortCore>, usize) {
            (&self.shared.core, 0)
        }

        /// The same in the lane with this name.
        ///
        /// # Errors
        /// A lane that there is not; and as `post`.
        pub fn post_in(&self, lane: &str, job: impl FnOnce() + Send + 'static) -> Result<()> {
            crate::job::post_in(&self.shared.core, lane, job)
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
