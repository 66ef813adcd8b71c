scotty_test(prometheus_parse_test MODULES sources messages base SOURCES batch_same.c WRAP_MALLOC)
scotty_test(prometheus_source_test MODULES sources messages base WRAP_MALLOC)
