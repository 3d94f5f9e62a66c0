// TLB fills and flushes: see tlb.h.
#include "mmu/tlb.h"

namespace mmu {

void TlbArray::recount() {
    for (Size& size : sizes_) size.entries = 0;
    for (const auto& slot : array_.slots()) count(slot.key, +1);
}

void TlbArray::flush(const TlbFlush& what) {
    if (array_.size() == 0) return;
    if (!what.one_address) {
        array_.erase_if([&](const auto& slot) { return what.matches_tag(slot.context); });
        if (array_.size() == 0) fractured_ = false;
        recount();
        return;
    }
    // An entry goes when the address lies in the guest's page that it is a part of (4.10.2.3, 4.10.4.1).
    const auto covers = [&](const auto& slot) {
        const u8 shift = shift_of(slot.key);
        const u8 page = slot.payload.guest_shift() > shift ? slot.payload.guest_shift() : shift;
        const u64 address = (slot.key & bit_range(0, 55)) << shift;
        return (address ^ what.gva) >> page == 0 && what.matches_tag(slot.context);
    };
    if (fractured_) {
        array_.erase_if(covers);
        recount();
        return;
    }
    for (unsigned i = 0; i < count_; ++i) {
        if (sizes_[i].entries != 0) {
            const u32 before = array_.size();
            array_.erase_in_set_if(what.gva >> sizes_[i].shift, [&](const auto& slot) {
                return shift_of(slot.key) == sizes_[i].shift && covers(slot);
            });
            sizes_[i].entries -= before - array_.size();
        }
    }
}

TlbConfig TlbConfig::sandy_bridge() {
    return {.l1_instruction = {{.shape = {128, 4}}, {.shape = {8, 8}, .pages_4k = false, .pages_2m = true}},
            .l1_data = {{.shape = {64, 4}},
                        {.shape = {32, 4}, .pages_4k = false, .pages_2m = true},
                        {.shape = {4, 4}, .pages_4k = false, .pages_1g = true}},
            .l2 = {{.shape = {512, 4}}}};
}

Tlb::Tlb(const TlbConfig& config) {
    for (const TlbArrayConfig& array : config.l1_instruction) {
        l1_instruction_.arrays.emplace_back(array, "instruction TLB");
    }
    for (const TlbArrayConfig& array : config.l1_data) l1_data_.arrays.emplace_back(array, "data TLB");
    for (const TlbArrayConfig& array : config.l2) l2_.emplace_back(array, "second-level TLB");
}

Tlb::Result Tlb::find_slowly(FirstLevel& level, u64 gva, const Tags& tags, const AccessMasks& masks, AccessKind kind) {
    for (TlbArray& array : level.arrays) {
        const TlbArray::Hit hit = array.find(gva, tags.process, tags.global);
        if (hit.slot == nullptr) continue;
        level.predictions.at(gva) = {hit.slot, &array, u64{hit.shift} << 56, hit.shift};
        if (!masks.allow(hit.entry().rights(), kind)) return {};
        return {TlbLevel::l1, hit.shift, hit.entry()};
    }
    for (TlbArray& array : l2_) {
        const TlbArray::Hit hit = array.find(gva, tags.process, tags.global);
        if (hit.slot == nullptr) continue;
        if (!masks.allow(hit.entry().rights(), kind)) return {};
        const Result result{TlbLevel::l2, hit.shift, hit.entry()};
        insert_first(level, gva, hit.shift, hit.slot->context, result.entry);
        return result;
    }
    return {};
}

void Tlb::insert_into(std::vector<TlbArray>& level, u64 gva, u8 page_shift, u64 tag, const TlbEntry& entry) {
    TlbArray* best = nullptr;
    u8 size = 0;
    for (TlbArray& array : level) {
        const u8 offered = array.best_size(page_shift);
        if (offered > size) {
            best = &array;
            size = offered;
        }
    }
    if (best != nullptr) best->insert(gva, size, tag, entry.part(gva, page_shift, size));
}

void Tlb::insert_first(FirstLevel& level, u64 gva, u8 page_shift, u64 tag, const TlbEntry& entry) {
    insert_into(level.arrays, gva, page_shift, tag, entry);
    // A new entry may come before a predicted one of another size: look properly again. One of 4 KiB shadows one page.
    if (page_shift == shift_4k) {
        level.predictions.at(gva) = {};
    } else {
        level.predictions = {};
    }
}

void Tlb::insert(u64 gva, u8 page_shift, const TlbContext& context, bool global, const TlbEntry& entry, Access access) {
    const u64 tag = global ? context.global_tag() : context.tag();
    insert_first(access == Access::execute ? l1_instruction_ : l1_data_, gva, page_shift, tag, entry);
    insert_into(l2_, gva, page_shift, tag, entry);
}

void Tlb::flush(const TlbFlush& what) {
    for (auto* level : {&l1_instruction_.arrays, &l1_data_.arrays, &l2_}) {
        for (TlbArray& array : *level) array.flush(what);
    }
}

}  // namespace mmu
