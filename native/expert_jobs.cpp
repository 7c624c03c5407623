// Many MLPs at once, each for its own rows of a pass: shared experts for all of them, an expert for those that chose it.
//
// A job is one MLP and at most a sweep of rows. Jobs are done in waves, which bound the memory; a wave is one loop over the gate and up
// tiles of all its jobs, one that rounds what came of them, and one over all down tiles. So decoding a token takes as many loops for six
// experts as for one, and threads go from one expert's weights to the next without waiting for each other.
//
//     rows of a job    neighbours in x_ (one row, all rows) are used where they are; others are copied together once, rounded as they are
//     q4p, many rows   are packed into a panel of the job's own (expanded.h)
//     results          [inner width of each job] in mlp_, then a row of outputs_ for each slot, or of shared_
#include <algorithm>
#include <cstring>

#include "multiply_pairs.h"

namespace pocketseek {

namespace {

constexpr int kWaveRows = 512;  // of all jobs of a wave: their inner rows take 2.9 MB in V2-Lite

bool are_neighbours(const int32_t* slots, int count, int places) {
    for (int i = 1; i < count; i++)
        if (slots[i] / places != slots[0] / places + i) return false;
    return true;
}

// Of one row of `from`, in the forms that `to` has.
void copy_row(const Activations& from, size_t source, const Activations& to, size_t target) {
    const size_t blocks = from.blocks, values = blocks * kBlock, superblocks = from.superblocks();
    const auto copy = [=](const auto* x, auto* y, size_t n) { std::memcpy(y + target * n, x + source * n, n * sizeof *y); };
    if (to.q) copy(from.q, to.q, values), copy(from.scale, to.scale, blocks), copy(from.sum8, to.sum8, blocks), copy(from.sum, to.sum, blocks);
    if (to.wide.q) copy(from.wide.q, to.wide.q, values), copy(from.wide.scale, to.wide.scale, superblocks), copy(from.wide.sum8, to.wide.sum8, blocks);
    if (to.x) copy(from.x, to.x, values);
}

}  // namespace

void Core::run_mlps(const std::vector<MlpRun>& runs) {
    Forms forms;
    for (const MlpRun& run : runs) forms.add({&run.weights->gate, &run.weights->up});
    if (mixture_.rows) take_input(forms);
    const size_t width = size_t(x_.blocks) * kBlock;
    const bool shares = std::any_of(runs.begin(), runs.end(), [](const MlpRun& run) { return !run.slots; });
    if (shares && plan_raise(mixture_rows_, mixture_index_, {Target::shared_gate, 3}, mixture_.rows))
        project({Target::shared_gate, 2}, {x_.x, width, 0, mixture_.rows});
    else raise_ = {};
    int rows = 0;
    jobs_.clear();
    for (const MlpRun& run : runs) {
        const bool expanded = expands(run.count, run.weights->gate) && expands(run.count, run.weights->up);
        const int most = expanded ? kExpandedSweep : std::clamp(int(kSweepBytes / width), kGroup, kSweepRows);
        const int step = expanded ? table_.pair_rows : kGroup, size = run.count ? div_up(div_up(run.count, div_up(run.count, most)), step) * step : 0;
        for (int first = 0; first < run.count; first += size) {
            const int count = std::min(size, run.count - first);
            if (rows && rows + count > kWaveRows) run_wave(), rows = 0;
            add_job(run, first, count);
            rows += count;
        }
    }
    run_wave();
}

void Core::add_job(const MlpRun& run, int first, int count) {
    const int32_t* slots = run.slots ? run.slots + first : nullptr;
    const int places = mixture_.shape.experts_per_token;
    MlpJob job{};
    job.weights = run.weights, job.inner = run.inner, job.slots = slots, job.rows = count;
    job.neighbours = !slots || are_neighbours(slots, count, places);
    job.first_row = slots ? slots[0] / places : first;
    jobs_.push_back(job);
}

void Core::run_wave() {
    if (jobs_.empty()) return;
    lay_out_jobs();
    gather_inputs();
    multiply_gates();
    quantise_middles();
    for (const MlpJob& job : jobs_)
        if (raise_.batch && !job.slots) project_middles(job);
    multiply_downs();
    jobs_.clear();
}

// Memory for all jobs, then each job's part of it.
void Core::lay_out_jobs() {
    struct Room { size_t blocks, superblocks, panels; };
    struct Plan { Room in, middle; size_t mlp; };
    const int group_rows = table_.pair_rows, width = x_.blocks, wide = x_.superblocks(), threads = pool_.num_threads();
    const auto groups = [=](const MlpJob& job) { return div_up(job.rows, group_rows); };
    const auto step = [&](const MlpJob& job) { return expands_in(job) ? group_rows : std::min(job.rows, kGroup); };
    Plan all{};
    Forms in_forms, middle_forms;
    const auto add_to = [](Room& room, const MlpJob& job, int blocks) {
        room.blocks += size_t(job.rows) * blocks, room.superblocks += size_t(job.rows) * div_up(blocks, kSuperBlocks);
    };
    std::vector<Plan> before;
    before.reserve(jobs_.size());
    int widest = width;
    for (const MlpJob& job : jobs_) {
        const MlpWeights& w = *job.weights;
        const int inner = div_up(job.inner, kBlock);
        before.push_back(all);
        if (expands_in(job)) all.in.panels += size_t(groups(job)) * wide;
        else if (!job.neighbours) add_to(all.in, job, width), in_forms.add({&w.gate, &w.up});
        if (expands(job.rows, w.down)) all.middle.panels += size_t(groups(job)) * div_up(inner, kSuperBlocks);
        else add_to(all.middle, job, inner), middle_forms.add(w.down);
        all.mlp += size_t(div_up(job.rows, step(job))) * step(job) * w.gate.tiles() * kTileRows;
        widest = std::max(widest, inner);
    }
    const Activations gathered = gathered_.take(in_forms, all.in.blocks, all.in.blocks, all.in.superblocks);
    const Activations middle = middle_.take(middle_forms, all.middle.blocks, all.middle.blocks, all.middle.superblocks);
    Panel in_panel, middle_panel;
    if (all.in.panels) in_panel = panel_.take(all.in.panels, group_rows);
    if (all.middle.panels) middle_panel = middle_panel_.take(all.middle.panels, group_rows);
    if (all.in.panels || all.middle.panels) {
        Forms own;
        own.wide = true;
        own_blocks_ = div_up(widest, kSuperBlocks) * kSuperBlocks;
        own_.take(own, 0, size_t(threads) * group_rows * own_blocks_, size_t(threads) * group_rows * (own_blocks_ / kSuperBlocks));
    }
    float* const mlp = grown(mlp_, all.mlp);
    for (size_t i = 0; i < jobs_.size(); i++) {
        MlpJob& job = jobs_[i];
        const Plan& at = before[i];
        const int inner = div_up(job.inner, kBlock);
        if (expands_in(job)) job.in.blocks = width, job.in.panel = panel_from(in_panel, at.in.panels, groups(job));
        else if (job.neighbours) job.in = activations_from(x_, size_t(job.first_row) * width, size_t(job.first_row) * wide, width);
        else job.in = activations_from(gathered, at.in.blocks, at.in.superblocks, width);
        if (expands(job.rows, job.weights->down)) job.middle.blocks = inner, job.middle.panel = panel_from(middle_panel, at.middle.panels, groups(job));
        else job.middle = activations_from(middle, at.middle.blocks, at.middle.superblocks, inner);
        job.inner_rows = {step(job), job.weights->gate.tiles(), mlp + at.mlp};
    }
}

// A worker's own rows in the wide form, as many as a panel's group has, of any width up to the widest.
WideActivations Core::own_rows(int worker) {
    const size_t first = size_t(worker) * table_.pair_rows * own_blocks_;
    return {own_.wide_q.data() + first * kBlock, own_.wide_scale.data() + first / kSuperBlocks, own_.wide_sum8.data() + first};
}

// The tasks of a loop over all jobs.
template <class Count> int Core::count_tasks(Count count) {
    job_tasks_.assign(1, 0);
    for (const MlpJob& job : jobs_) job_tasks_.push_back(job_tasks_.back() + count(job));
    return job_tasks_.back();
}

int Core::job_of(int task) const { return int(std::upper_bound(job_tasks_.begin(), job_tasks_.end(), task) - job_tasks_.begin()) - 1; }

// Rows that are no neighbours, copied together; or all rows of a job, packed into its panel.
void Core::gather_inputs() {
    const int places = mixture_.shape.experts_per_token, group_rows = table_.pair_rows;
    const int tasks = count_tasks([&](const MlpJob& job) { return job.in.panel.values ? job.in.panel.num_groups : job.neighbours ? 0 : job.rows; });
    const auto source = [=](const MlpJob& job, int i) { return job.neighbours ? job.first_row + i : job.slots[i] / places; };
    pool_.run(tasks, 1, [&](int begin, int end, int worker) {
        for (int task = begin; task < end; task++) {
            const int index = job_of(task), which = task - job_tasks_[index];
            const MlpJob& job = jobs_[index];
            if (!job.in.panel.values) {
                copy_row(x_, source(job, which), job.in, which);
                continue;
            }
            Activations own;
            own.blocks = x_.blocks, own.wide = own_rows(worker);
            const int first = which * group_rows, count = std::min(group_rows, job.rows - first);
            for (int i = 0; i < count; i++) copy_row(x_, source(job, first + i), own, i);
            table_.pack(own, count, job.in.panel, which, 0, own.superblocks());
        }
    });
}

// All pairs of tiles of all jobs, `width` tiles each, as count_tasks() counted them: find(job, index) names one, input(job) is what it is
// multiplied by, finish(job, pair, row, count, values) gets the results.
template <class Input, class Find, class Finish>
void Core::multiply_jobs(int tasks, size_t pair_bytes, int width, Input input, Find find, Finish finish) {
    int most_rows = 1;
    size_t each = 0;
    for (const MlpJob& job : jobs_) {
        most_rows = std::max(most_rows, job.rows);
        if (input(job).panel.values) each = std::max(each, pair_floats(input(job).panel));
    }
    grown(pair_, pool_.num_threads() * each);
    const int grain = std::clamp(int(kPieceBytes / (pair_bytes * div_up(most_rows, kGroup))), 1, most_of_piece(tasks, kTogether / width, pool_.num_threads()));
    const auto find_any = [&](int task) {
        const int index = job_of(task);
        return find(jobs_[index], task - job_tasks_[index]);
    };
    pool_.run(tasks, grain, [&](int begin, int end, int worker) {
        while (begin < end) {
            const int index = job_of(begin), last = std::min(end, job_tasks_[index + 1]);
            const MlpJob& job = jobs_[index];
            const Activations& in = input(job);
            const auto finish_job = [&](const TilePair& pair, int row, int count, const Results& values) { finish(job, pair, row, count, values); };
            const TilePair pair = find_any(begin);
            if (is_expanded(pair, in)) multiply_expanded(pair, in, 0, job.rows, aligned(pair_.data() + worker * each), finish_job), begin++;
            else begin = multiply_together(begin, last, end, tasks, in, 0, job.rows, worker, find_any, finish_job);
        }
    });
}

void Core::multiply_gates() {
    const int tasks = count_tasks([](const MlpJob& job) { return job.weights->gate.tiles(); });
    const auto find = [](const MlpJob& job, int index) { return TilePair{{&job.weights->gate, &job.weights->up}, {index, index}, 2}; };
    const auto finish = [&](const MlpJob& job, const TilePair& pair, int row, int count, const Results& values) {
        if (!job.slots) {
            raise(Target::shared_gate, pair.tile[0], job.first_row + row, count, values[0]);
            raise(Target::shared_up, pair.tile[0], job.first_row + row, count, values[1]);
        }
        table_.swiglu(values[0], values[1], job.inner_rows.tile(row, pair.tile[0]), count * kTileRows);
    };
    const MlpWeights& first = *jobs_[0].weights;
    multiply_jobs(tasks, first.gate.stride() + first.up.stride(), 2, [](const MlpJob& job) -> const Activations& { return job.in; }, find, finish);
}

// What comes of gate and up, rounded for down. A task is a superblock of some rows of a job.
void Core::quantise_middles() {
    const auto step = [&](const MlpJob& job) { return job.middle.panel.values ? table_.pair_rows : kGroup; };
    const int tasks = count_tasks([&](const MlpJob& job) { return div_up(job.rows, step(job)) * job.middle.superblocks(); });
    pool_.run(tasks, 1, [&](int begin, int end, int worker) {
        for (int task = begin; task < end; task++) {
            const int index = job_of(task);
            const MlpJob& job = jobs_[index];
            const int superblocks = job.middle.superblocks(), group = (task - job_tasks_[index]) / superblocks, part = (task - job_tasks_[index]) % superblocks;
            const int first = group * step(job), count = std::min(step(job), job.rows - first);
            const bool packed = job.middle.panel.values;
            Activations to = job.middle;
            if (packed) to.wide = own_rows(worker);
            const ptrdiff_t apart = ptrdiff_t(job.inner_rows.group_rows) * kTileRows;
            for (int i = 0; i < count; i++) table_.quantise(job.inner_rows.tile(first + i, 0), apart, job.inner, to, packed ? i : first + i, part, part + 1);
            if (packed) table_.pack(to, count, to.panel, group, part, part + 1);
        }
    });
}

// Of a job of the shared experts: what adapters multiply in place of what was rounded for down.
void Core::project_middles(const MlpJob& job) {
    const size_t stride = size_t(job.inner_rows.tiles) * kTileRows;
    float* const x = grown(raise_middles_, job.rows * stride);
    pool_.run(job.rows, 1, [&](int begin, int end, int) {
        for (int row = begin; row < end; row++)
            for (int tile = 0; mixture_rows_.adapter_of_row[job.first_row + row] >= 0 && tile < job.inner_rows.tiles; tile++)
                std::copy_n(job.inner_rows.tile(row, tile), kTileRows, x + row * stride + tile * kTileRows);
    });
    project({Target::shared_down, 1}, {x, stride, job.first_row, job.rows});
}

void Core::multiply_downs() {
    const int hidden = mixture_.width;
    const auto together = [](const MlpJob& job) { return job.middle.panel.values ? 2 : 1; };
    const int tasks = count_tasks([&](const MlpJob& job) { return div_up(job.weights->down.tiles(), together(job)); });
    const auto find = [=](const MlpJob& job, int index) {
        const Matrix& m = job.weights->down;
        const int tile = together(job) * index;
        return TilePair{{&m, &m}, {tile, tile + 1}, std::min(together(job), m.tiles() - tile)};
    };
    const auto finish = [&](const MlpJob& job, const TilePair& pair, int row, int count, const Results& values) {
        for (int t = 0; t < pair.count; t++) {
            const int column = pair.tile[t] * kTileRows, width = std::min(kTileRows, hidden - column);
            if (!job.slots) raise(Target::shared_down, pair.tile[t], job.first_row + row, count, values[t]);
            if (!job.slots) table_.store_tile(shared_.data() + size_t(job.first_row + row) * hidden + column, hidden, values[t], count, width);
            else for (int i = 0; i < count; i++) table_.store_tile(outputs_.data() + size_t(job.slots[row + i]) * hidden + column, 0, values[t] + i * kTileRows, 1, width);
        }
    };
    multiply_jobs(tasks, jobs_[0].weights->down.stride(), 1, [](const MlpJob& job) -> const Activations& { return job.middle; }, find, finish);
}

}  // namespace pocketseek
