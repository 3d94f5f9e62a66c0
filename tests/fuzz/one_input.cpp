// The heap of one input (one_input.h). This file is compiled without sanitizers: it writes where nobody else may.
#include "tests/fuzz/one_input.h"

#include <sanitizer/asan_interface.h>
#include <sanitizer/lsan_interface.h>
#include <sys/mman.h>

#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <new>
#include <utility>

namespace {

// Before each block: its size, and whether it is one. It is the poisoned space between it and the block before as well.
struct Head {
    std::uint64_t size;
    std::uint64_t mark;
};
constexpr std::size_t unit = 16, heap_bytes = std::size_t{192} << 20, largest_block = std::size_t{1} << 20;
// A block begins with what nobody takes for a value, as on the sanitizer's heap.
constexpr std::size_t filled_bytes = 256;
constexpr int filling = 0xbe;
constexpr std::uint64_t used_mark = 0x5eed'b10c'5eed'b10c, freed_mark = 0xdead'b10c'dead'b10c;
static_assert(sizeof(Head) == unit);

struct Heap {
    std::byte* made = nullptr;
    std::byte* begin = nullptr;  // behind what was made for all inputs
    std::byte* next = nullptr;
    std::byte* end = nullptr;
    std::uint64_t live = 0;     // blocks of the present input
    std::uint64_t outside = 0;  // blocks that it has not room for
};
Heap heap;
thread_local bool active = false;

[[noreturn]] void fail(const char* what, const void* block) {
    active = false;
    std::fprintf(stderr, "input heap: %s at %p\n", what, block);
    std::abort();
}

bool inside(const void* block) {
    return block >= heap.made && block < heap.end;
}

void* allocate(std::size_t size, std::size_t alignment) {
    if (active && size <= largest_block) {
        auto at = reinterpret_cast<std::uintptr_t>(heap.next) + sizeof(Head);
        at = (at + alignment - 1) & ~(std::uintptr_t{alignment} - 1);
        auto* block = reinterpret_cast<std::byte*>(at);
        if (block < heap.end && size + 2 * unit <= static_cast<std::size_t>(heap.end - block)) {
            *reinterpret_cast<Head*>(block - sizeof(Head)) = {size, used_mark};
            heap.next = block + (size + unit - 1) / unit * unit;
            ++heap.live;
            __asan_unpoison_memory_region(block, size);
            std::memset(block, filling, size < filled_bytes ? size : filled_bytes);
            return block;
        }
    }
    // The sanitizer's, which knows the limits of a campaign.
    if (active) ++heap.outside;
    return alignment > unit ? std::aligned_alloc(alignment, (size + alignment - 1) / alignment * alignment)
                            : std::malloc(size != 0 ? size : 1);
}

void* allocate_or_end(std::size_t size, std::size_t alignment) {
    void* block = allocate(size, alignment);
    if (block == nullptr) fail("no memory", block);
    return block;
}

void release(void* block) {
    if (!inside(block)) return std::free(block);
    Head& head = *reinterpret_cast<Head*>(static_cast<std::byte*>(block) - sizeof(Head));
    if (head.mark == freed_mark) fail("deleted twice", block);
    if (head.mark != used_mark) fail("deleted and never allocated", block);
    head.mark = freed_mark;
    --heap.live;
    __asan_poison_memory_region(block, head.size);
}

void release_sized(void* block, std::size_t size) {
    if (inside(block) && reinterpret_cast<Head*>(static_cast<std::byte*>(block) - sizeof(Head))->size != size) {
        fail("deleted with another size", block);
    }
    release(block);
}

void make_heap() {
    // Not the sanitizer's, which takes a block of that size for an input's failure.
    void* made = mmap(nullptr, heap_bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (made == MAP_FAILED) fail("no memory", nullptr);
    heap.made = heap.begin = heap.next = static_cast<std::byte*>(made);
    heap.end = heap.made + heap_bytes;
    __asan_poison_memory_region(made, heap_bytes);
    // Blocks of the sanitizer's heap that only blocks in here point to are no leaks.
    __lsan_register_root_region(made, heap_bytes);
}

}  // namespace

// The whole program's, but only the present input's are kept in its heap.
void* operator new(std::size_t size) {
    return allocate_or_end(size, unit);
}
void* operator new[](std::size_t size) {
    return allocate_or_end(size, unit);
}
void* operator new(std::size_t size, const std::nothrow_t&) noexcept {
    return allocate(size, unit);
}
void* operator new[](std::size_t size, const std::nothrow_t&) noexcept {
    return allocate(size, unit);
}
void* operator new(std::size_t size, std::align_val_t alignment) {
    return allocate_or_end(size, static_cast<std::size_t>(alignment));
}
void* operator new[](std::size_t size, std::align_val_t alignment) {
    return allocate_or_end(size, static_cast<std::size_t>(alignment));
}
void operator delete(void* block) noexcept {
    release(block);
}
void operator delete[](void* block) noexcept {
    release(block);
}
void operator delete(void* block, const std::nothrow_t&) noexcept {
    release(block);
}
void operator delete[](void* block, const std::nothrow_t&) noexcept {
    release(block);
}
void operator delete(void* block, std::size_t size) noexcept {
    release_sized(block, size);
}
void operator delete[](void* block, std::size_t size) noexcept {
    release_sized(block, size);
}
void operator delete(void* block, std::align_val_t) noexcept {
    release(block);
}
void operator delete[](void* block, std::align_val_t) noexcept {
    release(block);
}
void operator delete(void* block, std::size_t size, std::align_val_t) noexcept {
    release_sized(block, size);
}
void operator delete[](void* block, std::size_t size, std::align_val_t) noexcept {
    release_sized(block, size);
}

namespace fuzz {
namespace {

struct Kept {
    void* machine = nullptr;
    std::byte* begin = nullptr;
    std::size_t size = 0;
    std::byte* copy = nullptr;    // of its memory
    std::byte* shadow = nullptr;  // of what the sanitizer knows of its memory
};
Kept kept[KeptTarget::most_kinds];

// Across poisoned bytes, which memcpy would be stopped at.
void copy_all(std::byte* to, const std::byte* from, std::size_t size) {
    asm volatile("rep movsb" : "+D"(to), "+S"(from), "+c"(size) : : "memory");
}
std::byte* shadow_of(const std::byte* place) {
    static const auto mapping = [] {
        std::pair<std::size_t, std::size_t> made;
        __asan_get_shadow_mapping(&made.first, &made.second);
        return made;
    }();
    return reinterpret_cast<std::byte*>((reinterpret_cast<std::uintptr_t>(place) >> mapping.first) + mapping.second);
}
constexpr std::size_t shadow_bytes(std::size_t size) {
    return size / 8;
}

void begin_input() {
    if (heap.made == nullptr) make_heap();
    heap.live = heap.outside = 0;
    active = true;
}
// Whatever is in the heap goes.
void empty_heap() {
    __asan_poison_memory_region(heap.begin, static_cast<std::size_t>(heap.next - heap.begin));
    heap.next = heap.begin;
}
void keep_heap() {
    heap.begin = heap.next;
}

// What is made once for all inputs, when one first needs it, is left at an input's end: but not the second time.
template <class Run>
void leave_nothing(const Run& run) {
    for (unsigned turn = 0; turn < 2; ++turn) {
        begin_input();
        run();
        active = false;
        if (heap.live == 0) break;
        if (turn == 1) fail("a leak: blocks are left, the heap ends", heap.next);
        keep_heap();
    }
    heap.next = heap.begin;
}

void keep(Kept& one, const KeptTarget& target, unsigned kind) {
    begin_input();
    one.machine = target.make(kind);
    active = false;
    one.begin = heap.begin;
    one.size = static_cast<std::size_t>(heap.next - heap.begin);
    if (heap.outside != 0 || one.size % 16 != 0) fail("a machine has no room", one.machine);
    keep_heap();
    one.copy = static_cast<std::byte*>(std::malloc(one.size + shadow_bytes(one.size)));
    if (one.copy == nullptr) fail("no memory", nullptr);
    one.shadow = one.copy + one.size;
    copy_all(one.copy, one.begin, one.size);
    copy_all(one.shadow, shadow_of(one.begin), shadow_bytes(one.size));
}
void bring_back(const Kept& one) {
    empty_heap();
    copy_all(one.begin, one.copy, one.size);
    copy_all(shadow_of(one.begin), one.shadow, shadow_bytes(one.size));
}

bool meets_a_new_machine(std::span<const std::uint8_t> input) {
    std::uint64_t sum = 0xcbf29ce484222325;
    for (const std::uint8_t byte : input) sum = (sum ^ byte) * 0x100000001b3;
    return (sum >> 32) % KeptTarget::fresh_each == 0;
}

}  // namespace

int one_input(Target target, const std::uint8_t* data, std::size_t size) {
    leave_nothing([&] { target({data, size}); });
    return 0;
}

int one_input(const KeptTarget& target, const std::uint8_t* data, std::size_t size) {
    const std::span input{data, size};
    const unsigned kind = target.kind_of(input);
    std::uint64_t expected = 0;
    const bool both = kept[kind].machine == nullptr || meets_a_new_machine(input);
    if (both) {
        leave_nothing([&] {
            void* machine = target.make(kind);
            target.run(machine, input);
            expected = target.sum(machine);
            target.unmake(machine);
        });
    }
    if (kept[kind].machine == nullptr) keep(kept[kind], target, kind);
    begin_input();
    target.run(kept[kind].machine, input);
    if (both && target.sum(kept[kind].machine) != expected) fail("another end than on a new machine", data);
    active = false;
    if (heap.outside != 0) fail("an input has no room", data);
    bring_back(kept[kind]);
    return 0;
}

}  // namespace fuzz
