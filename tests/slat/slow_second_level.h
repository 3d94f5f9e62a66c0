// An independent model of both second-level formats and of the two-dimensional walk, for comparison with slat/: slow,
// recursive, literal bit numbers, no code shared with the fast one. Nested page tables are the slow model of long-mode
// paging with every access a user access; extended page tables are written out from SDM 28.3.
#pragma once

#include "tests/mmu/slow_paging.h"

namespace slow {

struct Second {
    bool ept = true;
    U root = 0;
    int width = 46;
    bool one_gib = true, nxe = true, flags = true, execute_only = true, advanced = true;
};

enum class Why { page, table, table_flag, pdpte };

struct Question {
    Access how;  // of a page
    Why why = Why::page;
    bool linear = true;
    bool user_page = true, writable_page = true, nx_page = false;
};

struct Answer {
    enum What { translated, violation, misconfiguration } what = translated;
    U info1 = 0;
    U address = 0;
    int page_bits = 0;
    bool read = true, write = true, fetch = true, dirty = false, ignore_pat = false;
    int type = 0;
    int reads = 0, writes = 0;
};

// System physical memory in a byte vector with a hole-free start; all ones outside.
struct Bytes {
    std::vector<std::uint8_t> bytes;
    U read(U address, int count) const {
        U value = 0;
        for (int i = 0; i < count; ++i) {
            const U at = address + static_cast<U>(i);
            value |= U{at < bytes.size() ? bytes[at] : std::uint8_t{0xff}} << (8 * i);
        }
        return value;
    }
    void set(U address, int bytes_wide, U flags) {
        for (int i = 0; i < bytes_wide; ++i) {
            const U at = address + static_cast<U>(i);
            if (at < bytes.size()) bytes[at] = static_cast<std::uint8_t>(bytes[at] | field(flags, 8 * i + 7, 8 * i));
        }
    }
};

class SecondLevel {
public:
    SecondLevel(const Second& second, Bytes& memory) : s_(second), memory_(memory) {}
    bool keep_flags = false;

    Answer ask(U gpa, const Question& q) {
        Answer a;
        if (s_.ept) {
            extended(a, gpa, q);
        } else {
            nested(a, gpa, q);
        }
        return a;
    }

private:
    struct Plain final : Memory {
        explicit Plain(Bytes& b) : bytes(b) {}
        Bytes& bytes;
        std::optional<U> read(U address, int count) override { return bytes.read(address, count); }
        std::optional<U> peek(U address, int count) override { return bytes.read(address, count); }
        bool may_set_flags(U) override { return true; }
        void set_flags(U address, int count, U flags) override { bytes.set(address, count, flags); }
    };

    void nested(Answer& a, U gpa, const Question& q) {
        Machine host;
        host.cr0 = 0x8001'0001;
        host.cr4 = 0x20;
        host.efer = s_.nxe ? 0xd00 : 0x500;
        host.cr3 = s_.root;
        host.maxphyaddr = s_.width;
        host.one_gib = s_.one_gib;
        host.amd = true;
        Access how{false, false, true, false};
        if (q.why == Why::page) {
            how.write = q.how.write;
            how.fetch = q.how.fetch;
        }
        if (q.why == Why::table || q.why == Why::table_flag) how.write = true;
        const U where = q.why == Why::page ? U{1} << 32 : U{1} << 33;
        if (field(gpa, 63, 48) != 0) {
            a.what = Answer::violation;
            a.info1 = where + 4 + (how.write ? 2 : 0) + (how.fetch && s_.nxe ? 16 : 0);
            return;
        }
        Plain plain(memory_);
        Paging paging(host, plain);
        paging.keep_flags = keep_flags;
        const U linear = bit(gpa, 47) ? gpa + 0xffff'0000'0000'0000 : gpa;
        const Verdict v = paging.access(linear, how);
        a.reads = static_cast<int>(v.path.size());
        a.writes = v.writes;
        if (v.what == Verdict::page_fault) {
            a.what = Answer::violation;
            a.info1 = v.error_code + where;
            return;
        }
        a.address = v.address;
        a.page_bits = v.page_bits;
        a.read = v.user;
        a.write = v.write;
        a.fetch = v.fetch;
        a.dirty = v.dirty;
        a.type = v.pat_index;
    }

    void extended(Answer& a, U gpa, const Question& q) {
        std::vector<U> used;
        if (field(gpa, 63, 48) != 0) return violate(a, q, false);
        level(a, gpa, q, field(s_.root, s_.width - 1, 12) << 12, 4, used);
    }

    bool wants_read(const Question& q) const {
        switch (q.why) {
            case Why::page:
                return !q.how.write && !q.how.fetch;
            case Why::table:
                return true;
            case Why::table_flag:
                return s_.flags;
            case Why::pdpte:
                return true;
        }
        return false;
    }
    bool wants_write(const Question& q) const {
        switch (q.why) {
            case Why::page:
                return q.how.write;
            case Why::table:
                return s_.flags;
            case Why::table_flag:
                return true;
            case Why::pdpte:
                return false;
        }
        return false;
    }
    bool wants_fetch(const Question& q) const { return q.why == Why::page && q.how.fetch; }

    void violate(Answer& a, const Question& q, bool present) {
        a.what = Answer::violation;
        U info = 0;
        if (wants_read(q)) info += 1;
        if (wants_write(q)) info += 2;
        if (wants_fetch(q)) info += 4;
        if (present && a.read) info += 8;
        if (present && a.write) info += 16;
        if (present && a.fetch) info += 32;
        if (q.linear && q.why != Why::pdpte) {
            info += 128;
            if (q.why == Why::page) {
                info += 256;
                if (s_.advanced && q.user_page) info += 512;
                if (s_.advanced && q.writable_page) info += 1024;
                if (s_.advanced && q.nx_page) info += 2048;
            }
        }
        a.info1 = info;
    }

    void level(Answer& a, U gpa, const Question& q, U table, int n, std::vector<U>& used) {
        const U where = table + 8 * field(gpa, 11 + 9 * n, 3 + 9 * n);
        const U entry = memory_.read(where, 8);
        ++a.reads;
        if (bit(entry, 0) == 0 && bit(entry, 1) == 0 && bit(entry, 2) == 0) return violate(a, q, false);
        const bool page = n == 1 || (bit(entry, 7) && (n == 2 || (n == 3 && s_.one_gib)));
        bool wrong = false;
        if (bit(entry, 1) && !bit(entry, 0)) wrong = true;
        if (bit(entry, 2) && !bit(entry, 0) && !s_.execute_only) wrong = true;
        for (int i = s_.width; i < 52; ++i) wrong = wrong || bit(entry, i);
        if (page) {
            const U type = field(entry, 5, 3);
            if (type != 0 && type != 1 && type != 4 && type != 5 && type != 6) wrong = true;
            if (n == 2 && field(entry, 20, 12) != 0) wrong = true;
            if (n == 3 && field(entry, 29, 12) != 0) wrong = true;
        } else {
            if (field(entry, 6, 3) != 0) wrong = true;
            if (bit(entry, 7)) wrong = true;
        }
        if (wrong) {
            a.what = Answer::misconfiguration;
            return;
        }
        used.push_back(where);
        if (!bit(entry, 0)) a.read = false;
        if (!bit(entry, 1)) a.write = false;
        if (!bit(entry, 2)) a.fetch = false;
        if (!page) return level(a, gpa, q, field(entry, 51, 12) << 12, n - 1, used);
        if ((wants_read(q) && !a.read) || (wants_write(q) && !a.write) || (wants_fetch(q) && !a.fetch)) {
            return violate(a, q, true);
        }
        a.page_bits = 3 + 9 * n;
        a.address = (field(entry, 51, a.page_bits) << a.page_bits) + field(gpa, a.page_bits - 1, 0);
        a.type = static_cast<int>(field(entry, 5, 3));
        a.ignore_pat = bit(entry, 6);
        a.dirty = !s_.flags || bit(entry, 9) || (wants_write(q) && !keep_flags);
        if (!s_.flags || keep_flags) return;
        for (const U& at : used) {
            const U flags = 256 + (&at == &used.back() && wants_write(q) ? 512 : 0);
            if ((memory_.read(at, 8) & flags) == flags) continue;
            memory_.set(at, 8, flags);
            ++a.writes;
        }
    }

    const Second& s_;
    Bytes& memory_;
};

// Guest memory through the second level: what makes the walk two-dimensional.
struct GuestMemory final : Memory {
    GuestMemory(const Second& second, Bytes& memory) : level(second, memory), bytes(memory) {}

    SecondLevel level;
    Bytes& bytes;
    Answer last;
    int reads = 0, writes = 0;
    std::vector<U> touched;  // system physical addresses of the guest entries read
    U private_below = 0;     // nested tables live below; a guest flag written there is reported
    bool wrote_below = false;

    std::optional<U> read(U address, int count) override {
        last = level.ask(address, {{}, Why::table});
        reads += last.reads;
        writes += last.writes;
        if (last.what != Answer::translated) return std::nullopt;
        touched.push_back(last.address);
        return bytes.read(last.address, count);
    }
    std::optional<U> peek(U address, int count) override {
        return bytes.read(quiet(address, Why::table).address, count);
    }
    bool may_set_flags(U address) override {
        const Answer a = quiet(address, Why::table_flag);
        if (a.what != Answer::translated) last = a;
        return a.what == Answer::translated;
    }
    void set_flags(U address, int count, U flags) override {
        const U where = quiet(address, Why::table).address;
        wrote_below = wrote_below || where < private_below;
        bytes.set(where, count, flags);
    }

private:
    Answer quiet(U address, Why why) {
        const bool before = level.keep_flags;
        level.keep_flags = true;
        const Answer a = level.ask(address, {{}, why});
        level.keep_flags = before;
        return a;
    }
};

}  // namespace slow
