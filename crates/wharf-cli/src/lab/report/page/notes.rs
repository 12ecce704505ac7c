//! What the page says beside its charts and tables.

pub(super) const P99: &str = "Bars: median of the rounds, with its 95 % bootstrap interval. \
    Circles: the same layout with the low class switched off. Names in bold are best, or not told \
    apart from the best.";

pub(super) const CEILING: &str = "Saturating, closed loop: frames a second that come back. Median \
    of the rounds, with its 95 % bootstrap interval. Names in bold are best, or not told apart \
    from the best.";

pub(super) const LATENCY: &str = "From the moment a frame was due until its answer was read; all \
    rounds together. Lower and flatter is better.";

pub(super) const LOW: &str =
    "A low class that always has work: what protecting the high class costs it.";

pub(super) const CPU: &str =
    "Cores busy, looked at ten times a second, mean over the rounds; the number is the median.";

pub(super) const CLASSES: &str = "Medians over the rounds; max is the longest of all. How late the \
    driver itself was is part of the latencies.";

pub(super) const COSTS: &str = "CPU time and switches are the server process's, divided by all \
    frames it handled; low handlers at once are counted in the handlers.";

pub(super) const TOPOLOGIES: &str = "All that differs between the layouts; the handlers are the \
    same. Addresses to connect to are filled in for each run.";

pub(super) const METHOD: &str = "<b>How it was measured.</b> A server process for each run, and \
    one driving thread with network code of its own, on the same machine; its CPU time is in the \
    tables. Each round runs every layout, in an order that moves on from round to round. Frames \
    are due on a schedule that does not wait for the server, unless a class always has work; \
    latency runs from the moment a frame was due (coordinated omission). Handlers that spin count \
    CPU time, so being preempted makes them longer. Every answer is checked byte by byte, and for \
    order. Ratios are paired by round; intervals are 95 % percentile bootstrap intervals of the \
    median.";
