#include "cpu/engine.h"

#include <sys/mman.h>
#include <unicorn/unicorn.h>

#include <algorithm>
#include <array>
#include <cstring>
#include <limits>
#include <string>
#include <utility>

#include "cpu/engine_hidden.h"
#include "sim/bits.h"
#include "sim/check.h"

namespace cpu {

namespace {

// Linear addresses for the engine's own look-ups (memory_written); non-canonical, so no guest's.
constexpr std::uint64_t invalidation_window = 0x4000'0000'0000'0000;

// What a block takes in the engine's code buffer: its description, and then its code, measured on the Debian kernel's
// boot with room to spare. When the buffer may be full we empty it ourselves: the engine's own way out of an overflow
// starts over at the buffer's beginning, on top of what is still in use.
constexpr std::uint64_t block_description = 256;
constexpr std::uint64_t block_overhead = 512;
constexpr std::uint64_t bytes_per_instruction = 320;

constexpr std::uint32_t svm_exit_base = 0x100;  // how Unicorn numbers an intercept: 0x100 + SVM exit code

}  // namespace

// Unicorn's callbacks. The block hook is the hot one: it runs some hundred million times a second.
struct Engine::Hooks {
    static void block(uc_engine*, std::uint64_t pc, std::uint32_t size, void* user) {
        Engine& e = *static_cast<Engine*>(user);
        // A block that lies within the last one and ends elsewhere: the last one was cut short at `pc`, because it
        // wrote into its own code. (One that is jumped into ends where it ends.)
        const std::uint64_t offset = pc - e.block_pc_;
        const bool within_last = offset < e.block_size_;
        if (within_last && offset + size != e.block_size_) [[unlikely]] {
            e.take_back(pc);
            e.close_block();
        }
        if (e.now_ps_ >= e.hook_limit_ps_) [[unlikely]] {
            if (stop_here(e, pc, within_last)) return;
        }
        const std::uint64_t tag = pc ^ e.salt_;
        Block* block = &e.block_table_[e.block_slot(tag)];
        if (block->tag != tag || block->size != size) [[unlikely]]
            e.measure(*block, pc, size);
        e.block_pc_ = pc;
        e.block_size_ = size;
        e.block_id_ = block->id;
        e.block_cost_ = {block->instructions, block->ps};
        e.now_ps_ += block->ps;
        e.instructions_ += block->instructions;
        ++e.blocks_;
        if (e.observer_ != nullptr) [[unlikely]]
            e.now_ps_ += e.observer_->fetch_cost_ps(pc, size);
    }

    // At a block's start, with the limit reached or an interrupt waiting for IF.
    static bool stop_here(Engine& e, std::uint64_t pc, bool within_last) {
        if (e.stopped_) return true;
        if (e.stepping_) {
            if (e.step_entries_++ == 0) return false;
            if (e.step_entries_ == 2 && within_last) {  // restarted because it writes into itself
                e.take_back(pc);
                e.close_block();
                return false;
            }
            e.stop_ = Stop{.reason = StopReason::limit};
        } else if (e.untidy_) {
            // run() tidies up and goes on. But an instruction that has just been restarted because it writes into its
            // own block must get its turn first: tidying would undo what let it write.
            if (within_last && !std::exchange(e.restarted_, true)) return false;
        } else if (e.now_ps_ >= e.limit_ps_) {
            e.stop_ = Stop{.reason = StopReason::limit};
        } else if (e.watch_interrupts_ && (e.state_->rflags & 0x200) != 0 &&
                   (e.state_->hflags & hflag::inhibit_irq) == 0) {
            e.stop_ = Stop{.reason = StopReason::attention};
        } else {
            return false;
        }
        stop(e);
        e.close_block();
        return true;
    }

    static void stop(Engine& e) {
        e.stopped_ = true;
        uc_emu_stop(e.uc_);
    }

    static void interrupt(uc_engine*, std::uint32_t number, void* user) {
        Engine& e = *static_cast<Engine*>(user);
        if (e.stopped_) return;
        if (number >= svm_exit_base) {
            std::uint64_t info2 = 0;
            std::memcpy(&info2, e.hidden_ + 0x80, sizeof info2);
            e.stop_ = Stop{.reason = StopReason::intercept,
                           .code = number - svm_exit_base,
                           .info1 = static_cast<std::uint32_t>(e.state_->error_code),
                           .info2 = info2};
        } else {
            e.stop_ = Stop{.reason = StopReason::exception,
                           .code = number,
                           .software = e.state_->exception_is_int != 0,
                           .error_code = static_cast<std::uint32_t>(e.state_->error_code)};
        }
        stop(e);
    }

    static bool invalid_instruction(uc_engine*, void*) { return true; }  // arrives as interrupt 6 next

    static bool fill(uc_engine*, std::uint64_t linear_page, uc_mem_type type, uc_tlb_entry* entry, void* user) {
        Engine& e = *static_cast<Engine*>(user);
        if (e.invalidating_) {
            entry->paddr = linear_page - invalidation_window;
            entry->perms = UC_PROT_ALL;
            return true;
        }
        ++e.fills_;
        const mmu::Access access = type == UC_MEM_WRITE   ? mmu::Access::write
                                   : type == UC_MEM_FETCH ? mmu::Access::execute
                                                          : mmu::Access::read;
        PageTranslation page;
        if (e.stopped_ || !e.translator_->translate_page(linear_page, access, page)) {
            if (!e.stopped_) {
                e.stopped_ = true;
                e.stop_ = Stop{.reason = StopReason::translation, .access = access};
            }
            return false;
        }
        page.writable = page.writable && e.may_write(page.spa >> 12, access);
        entry->paddr = page.spa;
        int permissions = 0;
        if (page.readable) permissions |= UC_PROT_READ;
        if (page.writable) permissions |= UC_PROT_WRITE;
        if (page.executable) permissions |= UC_PROT_EXEC;
        entry->perms = static_cast<uc_prot>(permissions);
        if (page.executable) e.note_code_page(linear_page, page.spa);
        if (e.options_.timed) e.linear_of_page_[page.spa >> 12] = linear_page;
        return true;
    }

    static void system_call(uc_engine*, void* user) { static_cast<Engine*>(user)->system_call(); }

    static void new_block(uc_engine*, uc_tb* block, uc_tb*, void* user) {
        Engine& e = *static_cast<Engine*>(user);
        // What stood here before is gone; measure what was translated now.
        e.block_table_[e.block_slot(block->pc ^ e.salt_)].tag = ~0ull;
        e.next_block_bytes_ = block_overhead + block->icount * bytes_per_instruction;
    }

    static void access(uc_engine*, uc_mem_type type, std::uint64_t spa, int size, std::int64_t, void* user) {
        Engine& e = *static_cast<Engine*>(user);
        if (e.observer_ != nullptr) {
            const std::uint64_t linear = e.linear_of_page_[spa >> 12] | (spa & 0xfff);
            e.now_ps_ += e.observer_->access_cost_ps(linear, spa, static_cast<unsigned>(size), type == UC_MEM_WRITE);
        }
    }
};

Engine::Engine(mmu::SystemMemory memory, const CostTable& costs, EngineOptions options, std::uint64_t tsc_hz,
               std::uint64_t seed)
    : options_(options),
      memory_(memory),
      tsc_hz_(tsc_hz),
      random_(seed, "engine.rdrand"),
      block_costs_(costs),
      block_table_(block_slots),
      code_pages_(code_page_slots),
      tails_(tail_slots),
      linear_of_page_(options.timed ? memory.size() >> 12 : 0),
      writable_epoch_(memory.size() >> 12) {
    open(memory);
    probe();
}

Engine::~Engine() {
    if (loaded_ != nullptr) unload(*loaded_);
    memory_.watch()->set_listener(nullptr);
    uc_context_free(scratch_);
    uc_close(uc_);
    munmap(hidden_, hidden_size);
    if (current_tsc_reader == this) current_tsc_reader = nullptr;
}

void Engine::open(mmu::SystemMemory memory) {
    VG_CHECK(memory.size() < hidden_spa && memory.size() % 4096 == 0 && memory.watch() != nullptr);
    current_tsc_reader = this;  // not another engine's clock, nor that of one that is gone
    memory.watch()->set_listener(this);
    require(uc_open(UC_ARCH_X86, UC_MODE_64, &uc_), "uc_open");
    require(uc_ctl_set_cpu_model(uc_, UC_CPU_X86_EPYC), "set the CPU model");
    require(uc_ctl_set_tcg_buffer_size(uc_, options_.code_buffer_bytes), "set the size of the code buffer");
    require(uc_mem_map_ptr(uc_, 0, memory.size(), UC_PROT_ALL, memory.at(0, memory.size())), "map the system memory");
    void* hidden = mmap(nullptr, hidden_size, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    VG_CHECK(hidden != MAP_FAILED);
    hidden_ = static_cast<std::byte*>(hidden);
    require(uc_mem_map_ptr(uc_, hidden_spa, hidden_size, UC_PROT_ALL, hidden_), "map the control block");
    // Otherwise each return from uc_emu_start looks up its `until` address in the guest's page tables.
    require(uc_ctl_exits_enable(uc_), "enable exits");
    require(uc_ctl_tlb_mode(uc_, UC_TLB_VIRTUAL), "set the TLB mode");
    require(uc_context_alloc(uc_, &scratch_), "allocate a context");

    uc_hook hook = 0;
    const auto add = [&](int type, auto function, auto... more) {
        require(uc_hook_add(uc_, &hook, type, reinterpret_cast<void*>(function), this, 1, 0, more...), "add a hook");
    };
    add(UC_HOOK_BLOCK, &Hooks::block);
    add(UC_HOOK_INTR, &Hooks::interrupt);
    add(UC_HOOK_INSN_INVALID, &Hooks::invalid_instruction);
    add(UC_HOOK_TLB_FILL, &Hooks::fill);
    add(UC_HOOK_EDGE_GENERATED, &Hooks::new_block);
    add(UC_HOOK_INSN, &Hooks::system_call, static_cast<int>(UC_X86_INS_SYSCALL));
    add(UC_HOOK_INSN, &Hooks::system_call, static_cast<int>(UC_X86_INS_SYSENTER));
    if (options_.timed) add(UC_HOOK_MEM_READ | UC_HOOK_MEM_WRITE, &Hooks::access);
}

Stop Engine::run(GuestContext& context, PageTranslator& translator, sim::Time& now, sim::Time limit,
                 bool watch_interrupts, AccessObserver* observer) {
    load(context);
    ++stops_;
    current_tsc_reader = this;
    running_ = &context;
    translator_ = &translator;
    observer_ = observer;
    now_ps_ = now.ps();
    limit_ps_ = limit.ps();
    watch_interrupts_ = watch_interrupts;
    close_block();
    state_->old_exception = -1;
    state_->exception_is_int = 0;
    const bool each_block = watch_interrupts || stepping_;
    do {
        tidy_up();
        hook_limit_ps_ = each_block ? std::numeric_limits<std::int64_t>::min() : limit_ps_;
        stopped_ = false;
        stop_ = Stop{};
        const uc_err error = uc_emu_start(uc_, state_->rip, ~0ull, 0, 0);
        VG_CHECK(stopped_, std::string{"the engine stopped by itself: "} + uc_strerror(error));
    } while (untidy_ && !stepping_ && stop_.reason == StopReason::limit && now_ps_ < limit_ps_);
    if (stop_.reason == StopReason::translation) {
        stop_.linear = *fault_address_;
        if (stop_.access == mmu::Access::execute) close_block();  // between blocks: all of the last one retired
    }
    undo_unretired();
    close_block();
    now = sim::Time::ps(now_ps_);
    running_ = nullptr;
    translator_ = nullptr;
    observer_ = nullptr;
    tidy_up();
    return stop_;
}

// The engine's own single step ends a block after each instruction. The guest must not see the flag that asks for it.
Stop Engine::step(GuestContext& context, PageTranslator& translator, sim::Time& now, AccessObserver* observer) {
    load(context);
    translator_ = &translator;
    const bool own = (state_->rflags & rflags::tf) != 0;
    const bool pops = pops_flags();
    const std::uint64_t dr6 = state_->dr[6];
    state_->rflags |= rflags::tf;
    stepping_ = true;
    step_hides_tf_ = !own;
    step_entries_ = 0;
    Stop stop = run(context, translator, now, sim::Time::never(), false, observer);
    stepping_ = step_hides_tf_ = false;
    const bool trapped = stop.reason == StopReason::exception && stop.code == 1 && !stop.software;
    const bool retired = trapped || stop.reason == StopReason::limit;
    if (!own && !(pops && retired)) state_->rflags &= ~rflags::tf;
    if (trapped && !own) {
        state_->dr[6] = dr6;
        stop = Stop{.reason = StopReason::limit};
    }
    return stop;
}

// POPF, IRET, SYSRET: the trap flag is theirs.
bool Engine::pops_flags() {
    std::array<std::uint8_t, 15> code{};
    for (std::size_t i = 0; i < code.size(); ++i) {
        if (!read_code(linear_rip() + i, std::span{code}.subspan(i, 1))) return false;
        const bool prefix = code[i] == 0x66 || code[i] == 0x67 || code[i] == 0xf2 || code[i] == 0xf3 ||
                            (code[i] & 0xe7) == 0x26 || (code[i] & 0xfe) == 0x64 ||
                            (code_size() == CodeSize::bits64 && (code[i] & 0xf0) == 0x40);
        if (i > 0 && code[i - 1] == 0x0f) return code[i] == 0x07;
        if (!prefix && code[i] != 0x0f) return code[i] == 0x9d || code[i] == 0xcf;
    }
    return false;
}

// A context that enters the engine brings its own address space; what the last one left in the TLB stays only if the
// two translate alike.
void Engine::load(GuestContext& context) {
    if (loaded_ == &context) return forget_changed_translations(context);
    if (loaded_ != nullptr) unload(*loaded_);
    std::memcpy(state_, &context.saved_, sizeof *state_);
    context.state_ = state_;
    context.translation_changed_ = true;
    loaded_ = &context;
    salt_ = context.code_salt();
    forget_changed_translations(context);
}

void Engine::forget_changed_translations(GuestContext& context) {
    if (std::exchange(context.translation_changed_, false)) {
        flush_translations();
    } else {
        for (unsigned i = 0; i < context.changed_pages_; ++i) flush_engine_page(state_, context.changed_page_[i]);
    }
    context.changed_pages_ = 0;
}

void Engine::unload(GuestContext& context) {
    if (loaded_ != &context) return;
    std::memcpy(&context.saved_, state_, sizeof *state_);
    context.state_ = &context.saved_;
    loaded_ = nullptr;
}

void Engine::flush_translations() {
    require(uc_ctl_flush_tlb(uc_), "flush the TLB");
    ++tlb_epoch_;
}

void Engine::forget_code() {
    // On the way the engine looks at its clock: on a restored machine once more than on the one that went on.
    const std::uint64_t clock_us = clock_us_;
    empty_code_buffer();
    flush_translations();
    for (Block& block : block_table_) block = Block{};
    for (CodePage& page : code_pages_) page = CodePage{};
    for (Tail& tail : tails_) tail = Tail{};
    if (loaded_ != nullptr) unload(*loaded_);
    clock_us_ = clock_us;
}

std::uint64_t Engine::linear_rip() const {
    if ((state_->hflags & hflag::cs64) != 0) return state_->rip;
    return (state_->segments[1].base + state_->rip) & 0xffff'ffff;
}

CodeSize Engine::code_size() const {
    if ((state_->hflags & hflag::cs64) != 0) return CodeSize::bits64;
    return (state_->hflags & hflag::cs32) != 0 ? CodeSize::bits32 : CodeSize::bits16;
}

// A block is announced whole; what did not retire is taken back: everything from RIP on.
void Engine::undo_unretired() {
    if (stop_.reason == StopReason::exception && stop_.code == 1) return;  // a trap: the one-instruction block retired
    take_back(linear_rip());
}

void Engine::take_back(std::uint64_t from) {
    // Code may have changed since it was announced; no more is taken back than was charged.
    const CodeCost unretired = tail_cost(from);
    instructions_ -= std::min(unretired.instructions, block_cost_.instructions);
    now_ps_ -= std::min(unretired.ps, block_cost_.ps);
}

// What the announced block costs from `from` on; nothing if that is not in it.
CodeCost Engine::tail_cost(std::uint64_t from) {
    if (from - block_pc_ >= block_size_) return {};
    Tail& tail = tails_[(from ^ from >> 12 ^ block_id_) & (tail_slots - 1)];
    if (tail.block_id == block_id_ && tail.from == from) return tail.cost;
    std::array<std::uint8_t, 4096> code;
    const auto left = std::span{code}.first(std::min<std::size_t>(block_pc_ + block_size_ - from, code.size()));
    if (!read_code(from, left)) return {};
    CodeCost cost = block_costs_.of(left, code_size());
    // Where the decoder knows an instruction less than the engine does, a block may be measured shorter than its end.
    if (const Block& whole = block_table_[block_slot(block_pc_ ^ salt_)]; whole.id == block_id_) {
        cost.instructions = std::min(cost.instructions, whole.instructions);
        cost.ps = std::min(cost.ps, whole.ps);
    }
    tail = Tail{block_id_, from, cost};
    return tail.cost;
}

std::size_t Engine::block_slot(std::uint64_t tag) const {
    return ((tag ^ (tag >> 17) * 0x9e3779b1u) ^ (tag >> 5)) & (block_slots - 1);
}

void Engine::measure(Block& block, std::uint64_t pc, std::uint32_t size) {
    std::array<std::uint8_t, 4096> code;
    const auto bytes = std::span{code}.first(std::min<std::size_t>(size, code.size()));
    CodeCost cost{1, 0};
    if (read_code(pc, bytes)) cost = block_costs_.of(bytes, code_size());
    block = Block{pc ^ salt_, size, cost.instructions, cost.ps, ++measurements_};
    const std::uint64_t page_tag = (pc & ~0xfffull) ^ salt_;
    if (code_page(page_tag).tag != page_tag) {
        PageTranslation page;
        if (translator_->translate_page(pc & ~0xfffull, mmu::Access::execute, page)) {
            note_code_page(pc & ~0xfffull, page.spa);
        }
    }
    CodePage& page = code_page(page_tag);
    if (page.tag == page_tag) {
        page.has_blocks = true;
        note_code(page.spa >> 12);
    } else {
        block.tag = ~0ull;  // measured for this once
    }
    // A block may end in the next page.
    const std::uint64_t last_page = (pc + (size == 0 ? 0 : size - 1)) & ~0xfffull;
    PageTranslation next;
    if (last_page != (pc & ~0xfffull) && translator_->translate_page(last_page, mmu::Access::execute, next)) {
        note_code(next.spa >> 12);
    }
}

// Which system page the code at a linear page is in. Blocks are remembered only for pages that stand in this table, and
// are forgotten when their page is pushed out or turns out to lie elsewhere.
void Engine::note_code_page(std::uint64_t linear_page, std::uint64_t spa) {
    const std::uint64_t tag = linear_page ^ salt_;
    CodePage& page = code_page(tag);
    if (page.tag == tag && page.spa == spa) return;
    if (page.has_blocks) forget_blocks(page.tag);
    page = CodePage{tag, spa, false};
}

void Engine::forget_blocks(std::uint64_t page_tag) {
    for (std::uint64_t offset = 0; offset < 4096; ++offset) {
        Block& block = block_table_[block_slot(page_tag + offset)];
        if (block.tag == page_tag + offset) block.tag = ~0ull;
    }
}

bool Engine::read_code(std::uint64_t linear, std::span<std::uint8_t> out) {
    while (!out.empty()) {
        const std::uint64_t tag = (linear & ~0xfffull) ^ salt_;
        const CodePage& page = code_page(tag);
        std::uint64_t spa = page.spa;
        if (page.tag != tag) {
            PageTranslation translation;
            if (translator_ == nullptr ||
                !translator_->translate_page(linear & ~0xfffull, mmu::Access::execute, translation))
                return false;
            spa = translation.spa;
        }
        const std::size_t n = std::min<std::size_t>(out.size(), 4096 - (linear & 0xfff));
        if (!memory_.read(spa + (linear & 0xfff), std::as_writable_bytes(out.first(n)))) return false;
        out = out.subspan(n);
        linear += n;
    }
    return true;
}

void Engine::watched_page_written(std::uint64_t spa, std::uint64_t length) {
    for (std::uint64_t page = spa >> 12; page <= (spa + length - 1) >> 12; ++page) {
        if (!memory_.watch()->watched(page << 12)) continue;
        if (running_ == nullptr) {
            drop_code(page);
        } else {  // not while the engine is in the middle of something
            code_to_drop_.push_back(page);
            make_untidy();
        }
    }
}

// The engine notices the first write to a page with code, and forgets only the code that was hit; after that it lets
// the page be written unseen. So a page is kept either in the state of code, where no TLB entry allows writes, or of
// data. A write to code makes it data: all its code is dropped at the next block (what was hit is gone at once). Code
// that is translated on a page of data makes the TLB forget that it could be written.
bool Engine::may_write(std::uint64_t page, mmu::Access access) {
    if (memory_.watch()->watched(page << 12)) {
        if (access != mmu::Access::write) return false;
        code_to_drop_.push_back(page);
        make_untidy();
    }
    writable_epoch_[page] = tlb_epoch_;
    return true;
}

void Engine::note_code(std::uint64_t page) {
    memory_.watch()->watch(page << 12, true);
    if (writable_epoch_[page] != tlb_epoch_) return;
    flush_needed_ = true;
    make_untidy();
}

void Engine::make_untidy() {
    if (!untidy_) restarted_ = false;
    untidy_ = true;
    hook_limit_ps_ = std::numeric_limits<std::int64_t>::min();
}

void Engine::tidy_up() {
    if (!untidy_) return;
    untidy_ = false;
    for (const std::uint64_t page : std::exchange(code_to_drop_, {})) drop_code(page);
    if (translated_bytes_ > options_.code_buffer_bytes / 4 * 3) empty_code_buffer();
    if (std::exchange(flush_needed_, false)) flush_translations();
}

// A block whose translation faulted has taken its place all the same.
void Engine::code_placed(std::uintptr_t place) {
    while (place > last_place_ && next_block_bytes_ < place - last_place_) next_block_bytes_ *= 2;
    translated_bytes_ += next_block_bytes_;
    next_block_bytes_ = block_description;
    last_place_ = place;
    if (translated_bytes_ > options_.code_buffer_bytes / 4 * 3) make_untidy();
}

void Engine::empty_code_buffer() {
    require(uc_ctl_flush_tb(uc_), "empty the code buffer");
    translated_bytes_ = next_block_bytes_ = 0;
    last_place_ = ~std::uintptr_t{0};
}

// The engine drops translations by linear address; a window that no guest can use maps one to one for this. What was
// measured of the page's blocks goes when they are translated anew (Hooks::new_block).
void Engine::drop_code(std::uint64_t page) {
    const std::uint64_t window = invalidation_window + (page << 12);
    invalidating_ = true;
    require(uc_ctl_remove_cache(uc_, window, window + 4096), "drop translated code");
    invalidating_ = false;
    memory_.watch()->watch(page << 12, false);
    flush_translations();
}

// SYSCALL and SYSENTER: the engine only calls us and then adds the instruction's length to RIP. The long-mode SYSCALL
// is done here because it is frequent; the processor model does the rest, and refuses what is not enabled.
void Engine::system_call() {
    EngineState& s = *state_;
    std::array<std::uint8_t, 2> code{};
    const bool is_syscall = read_code(linear_rip(), code) && code[0] == 0x0f && code[1] == 0x05;
    const bool fast = is_syscall && (s.efer & 1) != 0 && (s.hflags & hflag::cs64) != 0;
    if (!fast) {
        stop_ = Stop{.reason = StopReason::intercept, .code = is_syscall ? exit_syscall : exit_sysenter};
        Hooks::stop(*this);
        close_block();
        // The instruction has been counted; RIP is past it when the engine has stopped.
        return;
    }
    std::uint64_t flags = 0;
    require(uc_reg_read(uc_, UC_X86_REG_RFLAGS, &flags), "read the flags");
    if (step_hides_tf_) flags &= ~rflags::tf;
    s.gpr[1] = s.rip + 2;             // RCX
    s.gpr[11] = flags & ~rflags::rf;  // R11
    const auto selector = static_cast<std::uint32_t>(s.star >> 32) & 0xfffc;
    s.segments[1] = EngineSegment{selector, 0, 0, 0xffff'ffff, 0x00a09b00};
    s.segments[2] = EngineSegment{selector + 8, 0, 0, 0xffff'ffff, 0x00c09300};
    // While it runs, the engine keeps the arithmetic flags and DF apart from the others.
    flags &= ~s.fmask & ~rflags::rf;
    s.rflags = (flags & ~(rflags::status | rflags::df)) | rflags::always_one;
    s.cc_src = flags & rflags::status;
    s.cc_op = cc_op_flags_in_source;
    s.df = (flags & rflags::df) != 0 ? -1 : 1;
    s.hflags = (s.hflags & ~(hflag::cpl | hflag::addseg)) | hflag::cs64 | hflag::cs32 | hflag::ss32;
    s.rip = s.lstar - 2;
    close_block();
}

std::uint64_t Engine::read_tsc(void* state) {
    if (running_ == nullptr) {  // the probe asks where the state is
        state_ = static_cast<EngineState*>(state);
        return 0;
    }
    // The block was charged as a whole; RDTSC sees the time of its own instruction.
    const std::int64_t here = now_ps_ - std::min(tail_cost(linear_rip()).ps, block_cost_.ps);
    return sim::time_to_cycles(sim::Time::ps(here), tsc_hz_);
}

void Engine::draw_random(std::byte* out, std::size_t size) {
    for (std::size_t i = 0; i < size; ++i) out[i] = static_cast<std::byte>(random_.next_u64());
}

}  // namespace cpu
