# scotty_flags: the compiler settings of every target of this project.
add_library(scotty_flags INTERFACE)
target_compile_features(scotty_flags INTERFACE c_std_11)
target_compile_definitions(scotty_flags INTERFACE _GNU_SOURCE
  SCOTTY_VERSION="${PROJECT_VERSION}")
target_compile_options(scotty_flags INTERFACE
  -Wall -Wextra -Wshadow -Wconversion -Wstrict-prototypes -Wmissing-prototypes
  -Wswitch-enum -Wformat=2 -Wvla -Wundef -fno-omit-frame-pointer
  -fPIE -fstack-protector-strong -ftrivial-auto-var-init=zero
  $<$<C_COMPILER_ID:Clang>:-enable-trivial-auto-var-init-zero-knowing-it-will-be-removed-from-clang>
  $<$<BOOL:${SCOTTY_WERROR}>:-Werror>)
target_link_options(scotty_flags INTERFACE -pie -Wl,-z,relro -Wl,-z,now)

if(SCOTTY_SANITIZE)
  target_compile_options(scotty_flags INTERFACE -fsanitize=${SCOTTY_SANITIZE}
    -fno-sanitize-recover=all
    # Instrumented code hides ranges from gcc, which then warns of what can't be.
    $<$<C_COMPILER_ID:GNU>:-Wno-format-truncation;-Wno-maybe-uninitialized>)
  target_link_options(scotty_flags INTERFACE -fsanitize=${SCOTTY_SANITIZE})
else()
  target_compile_options(scotty_flags INTERFACE
    $<$<NOT:$<CONFIG:Debug>>:-O3;-U_FORTIFY_SOURCE;-D_FORTIFY_SOURCE=3>
    -fstack-clash-protection $<$<C_COMPILER_ID:GNU>:-fcf-protection>)
endif()
if(SCOTTY_FUZZ)
  target_compile_options(scotty_flags INTERFACE -fsanitize=fuzzer-no-link)
endif()

# assert() guards contracts between our own functions and stays on in releases.
foreach(config RELEASE RELWITHDEBINFO MINSIZEREL)
  string(REPLACE "-DNDEBUG" "" CMAKE_C_FLAGS_${config} "${CMAKE_C_FLAGS_${config}}")
endforeach()
