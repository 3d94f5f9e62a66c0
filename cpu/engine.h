// The instruction engine: one Unicorn for all virtual processors. It runs one guest context at a time until something
// happens that the processor model must decide, and knows at each such stop exactly how many instructions have retired
// and what they cost.
//
// The engine runs in SVM guest mode, so each intercepted instruction stops it before it has had an effect. Translation
// is ours: each miss of the engine's software TLB comes to the PageTranslator. Engine-physical memory is the simulated
// host's system physical memory, so translated code is shared and a write to code is noticed whoever makes it.
#pragma once

#include <algorithm>
#include <cstdint>
#include <memory>
#include <span>
#include <vector>

#include "cpu/block_costs.h"
#include "cpu/engine_state.h"
#include "cpu/engine_wraps.h"
#include "cpu/guest_context.h"
#include "cpu/lazy_zeros.h"
#include "mmu/paging.h"
#include "mmu/system_memory.h"
#include "sim/random.h"
#include "sim/time.h"

struct uc_struct;
struct uc_context;

namespace cpu {

struct PageTranslation {
    std::uint64_t spa = 0;  // of the page's first byte
    bool readable = false;
    bool writable = false;  // false for a clean page: its first write must come back to set the dirty flag
    bool executable = false;
};

// Who translates for the running context. False: a fault, which the translator keeps; the engine stops with it.
struct PageTranslator {
    virtual bool translate_page(std::uint64_t linear_page, mmu::Access access, PageTranslation& page) = 0;

protected:
    ~PageTranslator() = default;
};

// Each data access of the running context, for the `timed` fidelity. The cost is added to the running time.
struct AccessObserver {
    virtual std::int64_t access_cost_ps(std::uint64_t linear, std::uint64_t spa, unsigned size, bool write) = 0;
    // The code of a block that is about to run.
    virtual std::int64_t fetch_cost_ps(std::uint64_t linear, unsigned size) = 0;

protected:
    ~AccessObserver() = default;
};

enum class StopReason : std::uint8_t {
    limit,        // the time limit
    attention,    // a pending interrupt can be taken now
    intercept,    // code = SVM exit code, RIP at the instruction
    exception,    // code = vector, RIP as the architecture says
    translation,  // the translator refused; linear = the address
};

struct Stop {
    StopReason reason = StopReason::limit;
    std::uint32_t code = 0;
    std::uint64_t info1 = 0;
    std::uint64_t info2 = 0;
    bool software = false;  // INT n, INT3, INTO: RIP is past the instruction
    std::uint32_t error_code = 0;
    std::uint64_t linear = 0;
    mmu::Access access = mmu::Access::read;
};

// What the engine does natively; everything else that SVM can intercept stops it.
struct EngineOptions {
    bool timed = false;  // intercept CR3 writes and INVLPG, observe each access
    // For translated code. It decides how often everything is translated anew, and nothing else.
    std::uint32_t code_buffer_bytes = 512u << 20;
};

class Engine final : private TscReader, private mmu::WriteWatch::Listener {
public:
    // The memory must stay where it is, and carry a write watch: that is how the engine hears of code that others
    // write.
    Engine(mmu::SystemMemory memory, const CostTable& costs, EngineOptions options, std::uint64_t tsc_hz,
           std::uint64_t seed);
    ~Engine();
    Engine(const Engine&) = delete;
    Engine& operator=(const Engine&) = delete;

    // Power-on content of the fields that the architecture doesn't define; new contexts begin with it.
    const EngineState& pristine_state() const { return pristine_; }

    // Runs `context` from `now` on, at most up to the first block boundary at or after `limit`. `now` is advanced by
    // the cost of what retired. With `watch_interrupts` it stops with `attention` as soon as RFLAGS.IF permits.
    Stop run(GuestContext& context, PageTranslator& translator, sim::Time& now, sim::Time limit, bool watch_interrupts,
             AccessObserver* observer = nullptr);

    // Runs one instruction, or one iteration of a repeated one, whatever the time: StopReason::limit if it retired.
    Stop step(GuestContext& context, PageTranslator& translator, sim::Time& now, AccessObserver* observer = nullptr);

    // The time of the instruction that is being executed, while a hook runs.
    sim::Time now() const { return sim::Time::ps(now_ps_); }
    // An instruction's length and cost; and one that the caller carried out in the engine's stead, for the count.
    BlockCosts::Instruction measure_instruction(std::span<const std::uint8_t> code, CodeSize size) {
        return block_costs_.first(code, size);
    }
    void count_instruction() { ++instructions_; }
    void discount_instruction() { --instructions_; }
    // What the delivery of an exception costs a guest: never nothing, so that time goes on for one that does only that.
    sim::Time event_cost() const {
        return sim::Time::ps(std::max<std::int64_t>(block_costs_.ps(InstructionClass::serializing), 1));
    }

    // Translations changed: forgets all (of the running context; others are flushed when they come back).
    void flush_translations();
    // Forgets all translated code as well: all of memory may have changed.
    void forget_code();
    // The context's state leaves the engine, for instance before it is destroyed.
    void unload(GuestContext& context);

    std::uint64_t instructions() const { return instructions_; }
    std::uint64_t blocks() const { return blocks_; }
    std::uint64_t fills() const { return fills_; }
    std::uint64_t stops() const { return stops_; }

    template <class Archive>
    void fields(Archive& archive) {
        archive(random_, instructions_, blocks_, fills_, stops_, clock_us_);
    }

private:
    struct Block {
        std::uint64_t tag = ~0ull;  // linear address and salt
        std::uint32_t size = 0;
        std::uint32_t instructions = 0;
        std::int64_t ps = 0;
        std::uint64_t id = 0;  // of the measurement: what is remembered about this block's parts is under it
    };
    static_assert(sizeof(Block) == 32);
    // What the end of a block costs, from an instruction in it on.
    struct Tail {
        std::uint64_t block_id = 0;
        std::uint64_t from = 0;
        CodeCost cost;
    };
    struct CodePage {
        std::uint64_t tag = ~0ull;
        std::uint64_t spa = ~0ull;
        bool has_blocks = false;
    };
    static constexpr std::size_t block_slots = 1u << 16;
    static constexpr std::size_t code_page_slots = 1u << 14;
    static constexpr std::size_t tail_slots = 1u << 12;

    struct Hooks;  // the C callbacks
    friend struct Hooks;

    void open(mmu::SystemMemory memory);
    // engine_probe.cpp: finds the live state and the fault address in the engine and verifies the layout.
    void probe();
    void execute_probe(std::uint64_t address, std::span<const std::uint8_t> code);
    void verify_layout();
    void set_up_guest_mode();
    void load(GuestContext& context);
    void forget_changed_translations(GuestContext& context);
    void measure(Block& block, std::uint64_t pc, std::uint32_t size);
    std::size_t block_slot(std::uint64_t tag) const;
    CodePage& code_page(std::uint64_t tag) {
        return code_pages_[(tag >> 12 ^ tag >> 25 ^ tag >> 38) & (code_page_slots - 1)];
    }
    void note_code_page(std::uint64_t linear_page, std::uint64_t spa);
    void forget_blocks(std::uint64_t page_tag);
    bool read_code(std::uint64_t linear, std::span<std::uint8_t> out);
    void undo_unretired();
    bool pops_flags();
    void take_back(std::uint64_t from);
    CodeCost tail_cost(std::uint64_t from);
    void close_block() { block_size_ = 0; }
    std::uint64_t linear_rip() const;
    CodeSize code_size() const;
    void system_call();

    void note_code(std::uint64_t page);
    bool may_write(std::uint64_t page, mmu::Access access);
    void make_untidy();
    void tidy_up();
    void drop_code(std::uint64_t page);
    void empty_code_buffer();

    // mmu::WriteWatch::Listener: somebody other than the engine wrote where code was translated.
    void watched_page_written(std::uint64_t spa, std::uint64_t length) override;
    // TscReader
    std::uint64_t read_tsc(void* state) override;
    void draw_random(std::byte* out, std::size_t size) override;
    std::uint64_t engine_clock_us() override { return clock_us_ += 1000; }
    void code_placed(std::uintptr_t place) override;

    uc_struct* uc_ = nullptr;
    uc_context* scratch_ = nullptr;
    EngineState* state_ = &pristine_;  // where the engine runs, once the probe has found it
    const volatile std::uint64_t* fault_address_ = nullptr;
    EngineState pristine_{};
    EngineOptions options_;
    mmu::SystemMemory memory_;
    std::byte* hidden_ = nullptr;  // control block and permission maps, in no guest's reach
    std::uint64_t tsc_hz_;
    sim::Random random_;

    BlockCosts block_costs_;
    std::vector<Block> block_table_;
    std::vector<CodePage> code_pages_;
    std::vector<Tail> tails_;
    std::uint64_t measurements_ = 0;
    // `timed`: the linear page by which each system page was filled last. The engine tells of accesses by system
    // address.
    std::vector<std::uint64_t, LazyZeros<std::uint64_t>> linear_of_page_;
    // By system page: the epoch in which the engine's TLB was last allowed to write it. A page that has code (the write
    // watch knows) and one that may be written are two things: see may_write().
    std::vector<std::uint32_t, LazyZeros<std::uint32_t>> writable_epoch_;
    std::uint32_t tlb_epoch_ = 1;              // counts flushes
    std::vector<std::uint64_t> code_to_drop_;  // pages, once the engine has stopped
    // An upper bound of the code buffer in use. It must be the same in every run, as the host's addresses are not, so
    // it is an estimate by the guest's instructions; a block that took more counts as the next power of two of that.
    std::uint64_t translated_bytes_ = 0;
    std::uint64_t next_block_bytes_ = 0;  // the estimate for the block that was placed last
    std::uintptr_t last_place_ = ~std::uintptr_t{0};
    bool flush_needed_ = false;
    bool restarted_ = false;
    bool untidy_ = false;  // one of the two waits: stop at the next block

    // The run in progress.
    GuestContext* loaded_ = nullptr;
    GuestContext* running_ = nullptr;
    PageTranslator* translator_ = nullptr;
    AccessObserver* observer_ = nullptr;
    std::int64_t now_ps_ = 0;
    std::int64_t limit_ps_ = 0;
    std::int64_t hook_limit_ps_ = 0;  // limit_ps_, or the past if each block must be looked at
    bool watch_interrupts_ = false;
    std::uint64_t salt_ = 0;
    // The last announced block, which may not have retired as a whole; size 0 if it surely has.
    std::uint64_t block_pc_ = 0;
    std::uint32_t block_size_ = 0;
    std::uint64_t block_id_ = 0;
    CodeCost block_cost_;
    bool stopped_ = false;
    bool stepping_ = false;  // one instruction, by the engine's own single step
    bool step_hides_tf_ = false;
    unsigned step_entries_ = 0;  // blocks begun in this step
    Stop stop_;
    bool invalidating_ = false;
    std::uint64_t clock_us_ = 0;

    std::uint64_t instructions_ = 0;
    std::uint64_t blocks_ = 0;
    std::uint64_t fills_ = 0;
    std::uint64_t stops_ = 0;
};

}  // namespace cpu
