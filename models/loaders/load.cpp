// Which loader a file is for, and what the loaders share about their inputs.
#include <fmt/format.h>

#include <algorithm>

#include "models/loaders/boot_image.h"
#include "models/loaders/bzimage_header.h"
#include "models/loaders/elf.h"
#include "models/loaders/multiboot_header.h"
#include "models/loaders/placement.h"
#include "sim/check.h"

namespace models::loaders {

Format detect(View kernel) {
    std::uint32_t magic = 0;
    if (read_at(kernel, setup::header_magic, magic) && magic == setup::magic_hdrs) return Format::bzimage;
    if (read_at(kernel, 0, magic) && magic == elf::magic) {
        if (find_multiboot_header(kernel)) return Format::multiboot;
        if (elf::pvh_entry(elf::parse(kernel), kernel)) return Format::pvh;
        throw sim::UserError("guest kernel: the ELF file has neither a multiboot header nor a PVH entry note");
    }
    throw sim::UserError(fmt::format(
        "guest kernel of {} bytes: neither a bzImage nor an ELF file; is it the right file?", kernel.size()));
}

BootImage load(const BootInput& input) {
    switch (detect(input.kernel)) {
        case Format::bzimage:
            return load_bzimage(input);
        case Format::pvh:
            return load_pvh(input);
        case Format::multiboot:
            return load_multiboot(input);
    }
    return {};
}

Bytes concatenate_initramfs(std::span<const View> archives) {
    Bytes out;
    for (const View archive : archives) {
        out.insert(out.end(), archive.begin(), archive.end());
        out.resize((out.size() + 3) & ~std::size_t{3});
    }
    return out;
}

std::string assemble_command_line(std::span<const std::string> options) {
    std::string line;
    bool kaslr_named = false;
    const auto add = [&line](std::string_view word) {
        if (!line.empty()) line += ' ';
        line += word;
    };
    for (const std::string& option : options) {
        for (const char c : option) {
            if (static_cast<unsigned char>(c) < 0x20 || c == 0x7f) {
                throw sim::UserError(fmt::format("kernel command line: option '{}' has a control character",
                                                 option.substr(0, option.find(c))));
            }
        }
        std::size_t at = 0;
        while (at < option.size()) {
            const std::size_t end = std::min(option.find(' ', at), option.size());
            const std::string_view word = std::string_view{option}.substr(at, end - at);
            if (word == "kaslr" || word == "nokaslr") kaslr_named = true;
            if (!word.empty()) add(word);
            at = end + 1;
        }
    }
    // Address randomization draws from RDRAND and RDTSC: reproducible here as well, but addresses in messages move.
    if (!kaslr_named) line = line.empty() ? "nokaslr" : "nokaslr " + line;
    if (line.size() > longest_command_line) {
        throw sim::UserError(fmt::format("kernel command line of {} characters: a kernel takes at most {}", line.size(),
                                         longest_command_line));
    }
    return line;
}

}  // namespace models::loaders
