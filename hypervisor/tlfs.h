// The Hypervisor Top Level Functional Specification (TLFS 6.0b) in numbers and layouts; no behaviour.
//
// Names are the specification's, in this tree's spelling: HV_STATUS_ACCESS_DENIED is HvStatus::access_denied,
// HvCallMapGpaPages is HvCall::map_gpa_pages, HV_X64_MSR_SIMP is msr::simp, HvX64RegisterRip is HvRegister::x64_rip.
// Enumerations are open: a guest may write any value, and code that receives one keeps it as it is.
// Every structure has its members at natural alignment without hidden padding; "reserved" members must be zero.
#pragma once

#include "hypervisor/tlfs_cpuid.h"
#include "hypervisor/tlfs_hypercalls.h"
#include "hypervisor/tlfs_messages.h"
#include "hypervisor/tlfs_msrs.h"
#include "hypervisor/tlfs_registers.h"
#include "hypervisor/tlfs_root_hypercalls.h"
#include "hypervisor/tlfs_status.h"
